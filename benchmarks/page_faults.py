"""Minor page faults: what memory that is not used again costs, beside the copying."""

from pathlib import Path

_MINOR = 7
"""The place of `minflt` in /proc/PID/stat, behind the process's name."""


class PageFaults:
    """Those of this process and of its server, since this was made."""

    def __init__(self, server_pid: int | None) -> None:
        self._server = "self" if server_pid is None else str(server_pid)
        self._before = self._count()

    def so_far(self) -> dict[str, int]:
        """Return how many the client had, and how many the server, if there is one."""
        client, server = (now - then for now, then in zip(self._count(), self._before, strict=True))
        return {"client": client, "server": 0 if self._server == "self" else server}

    def _count(self) -> tuple[int, int]:
        return _of("self"), _of(self._server)


def _of(pid: str) -> int:
    text = Path("/proc", pid, "stat").read_text()
    return int(text.rpartition(")")[2].split()[_MINOR])
