"""`python -m capenv` and the `capenv` command."""

import sys


def main() -> None:
    """Run the command line; say what to install if it is not."""
    try:
        from capenv.cli.app import app
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("typer", "rich"):
            raise
        sys.exit(f"the capenv command needs {missing}: pip install 'capenv[cli]'")
    app()


if __name__ == "__main__":
    main()
