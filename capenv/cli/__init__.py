"""The command line. Needs the extra `capenv[cli]`."""
