"""Cap'n Proto RPC without I/O: messages in, events out, messages out."""
