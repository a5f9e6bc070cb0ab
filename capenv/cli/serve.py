"""`capenv serve`."""

import logging
import os
import signal
import tempfile
from pathlib import Path

import trio

from capenv.errors import CapenvError
from capenv.remote.server import serve
from capenv.worlds import Host

_log = logging.getLogger("capenv")


def run(ids: list[str], listen: str | None, url_file: Path | None) -> None:
    """Serve until SIGINT or SIGTERM."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    host = Host()
    for id in dict.fromkeys(ids):  # noqa: A001
        host.add(id)
    trio.run(_serve, host, listen, url_file)


async def _serve(host: Host, listen: str | None, url_file: Path | None) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with serve(host, listen) as server:
            lines = "".join(f"{env.id}\t{server.url(env.id)}\n" for env in host)
            if url_file is not None:
                try:
                    _write_whole(url_file, lines)
                except OSError as error:
                    raise CapenvError(
                        f"cannot write {url_file}: {error.strerror}; choose another file"
                    ) from error
            print(lines, end="", flush=True)
            async for number in signals:
                _log.info("%s: telling sessions and ending", signal.Signals(number).name)
                break


def _write_whole(path: Path, text: str) -> None:
    """Put the file there at once: whoever sees it sees all of it. Only its owner may read the secrets."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
