"""`capenv serve`."""

import logging
import os
import signal
import tempfile
from pathlib import Path
from types import FrameType

import trio

from capenv.errors import CapenvError, URLError
from capenv.link import MemoryAddress
from capenv.remote.server import serve
from capenv.url import CapabilityURL
from capenv.worlds import Host

_log = logging.getLogger("capenv")
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(ids: list[str], listen: str | None, url_file: Path | None) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP."""
    if listen is not None and isinstance(
        CapabilityURL.parse_locator(listen).address, MemoryAddress
    ):
        raise URLError("an address in memory is for hosts within a program; listen at a socket")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    host = Host()
    for id in dict.fromkeys(ids):  # noqa: A001
        host.add(id)
    trio.run(_serve, host, listen, url_file)


async def _serve(host: Host, listen: str | None, url_file: Path | None) -> None:
    ending = _first_signal()
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
        number = await ending.receive()
        _log.info("%s: telling sessions and ending", signal.Signals(number).name)


def _first_signal() -> trio.MemoryReceiveChannel[int]:
    """Return what receives the first signal to end. The second ends the process, whatever it does."""
    send, receive = trio.open_memory_channel[int](1)
    token = trio.lowlevel.current_trio_token()

    def notice(number: int, frame: FrameType | None) -> None:
        for each in _ENDING:
            signal.signal(each, signal.SIG_DFL)
        token.run_sync_soon(send.send_nowait, number)

    for each in _ENDING:
        if signal.getsignal(each) is not signal.SIG_IGN:  # of nohup
            signal.signal(each, notice)
    return receive


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
