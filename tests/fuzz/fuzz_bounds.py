"""The bounds that no message may break: time, memory, and what a connection holds."""

import ctypes
import faulthandler
import gc
import os
import resource
import signal
import time
import tracemalloc
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

import attrs
from fuzz_peer import FaultError

from capenv.rpc.limits import Limits
from capenv.values import MAX_BYTES

MESSAGE_SECONDS: Final = 5.0
"""How long the processor may work for one message. The slowest allowed name spaces of `MAX_BYTES`."""
STUCK_SECONDS: Final = 60
"""After so long by the clock without a word the process ends: what waits or hangs in C++ is found too."""
ALLOCATED_BYTES: Final = 4 * MAX_BYTES
"""How much memory one connection may take: two spaces of the largest size, and what they are made from."""
GROWTH_BYTES: Final = 64 << 20
"""How much more memory the process may have at the end than once it was warm."""
_STDERR = 2  # the descriptor: sys.stderr may be anything
_PAGE = os.sysconf("SC_PAGE_SIZE")
_COLLECTIONS = (Mapping, set, list, deque)


class HangError(BaseException):
    """A message took too long. No Exception, for the code under test may take those for the peer's fault."""


def resident() -> int:
    """Return the bytes of memory that the process needs now, without what was merely not given back."""
    gc.collect()
    with suppress(OSError, AttributeError):  # a C library that has no such function
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * _PAGE


def most_resident() -> int:
    """Return the most bytes of memory that the process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@attrs.define
class Worst:
    """The message that took most of something, and on which connection it was."""

    amount: float = 0
    connection: int = -1

    def note(self, amount: float, connection: int) -> None:
        if amount > self.amount:
            self.amount, self.connection = amount, connection


@attrs.define
class Watch:
    """Measures every message. Make one of it around a run: `with watch.armed(): ...`."""

    slowest: Worst = attrs.field(factory=Worst)
    largest: Worst = attrs.field(factory=Worst)

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Take over the process's alarm for as long as the run goes."""
        before = signal.signal(signal.SIGPROF, _alarm)
        if not faulthandler.is_enabled():
            faulthandler.enable(_STDERR)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
            signal.signal(signal.SIGPROF, before)

    def still_running(self) -> None:
        """Start the time anew after which the process is taken as stuck."""
        faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True, file=_STDERR)

    @contextmanager
    def allocations(self, connection: int) -> Iterator[None]:
        """Measure what Python and numpy allocate for a connection; it runs half as fast."""
        tracemalloc.start()
        try:
            yield
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.largest.note(peak, connection)
        if peak > ALLOCATED_BYTES:
            raise FaultError(f"{peak >> 20} MiB were allocated for one conversation")

    def begin(self) -> float:
        """Take note that a message is handed in."""
        signal.setitimer(signal.ITIMER_PROF, MESSAGE_SECONDS)
        return time.process_time()

    def done(self, begun: float, connection: int) -> None:
        """Take note that all consequences of the message are there."""
        took = time.process_time() - begun
        signal.setitimer(signal.ITIMER_PROF, 0)
        self.slowest.note(took, connection)


def _alarm(signal_number: int, frame: FrameType | None) -> None:
    raise HangError(f"a message took more than {MESSAGE_SECONDS:g} seconds of processor time")


def check_tables(core: object, limits: Limits) -> None:
    """Check that no collection within a connection is larger than any limit allows.

    It knows no table by name: whatever holds things, at whatever place, is looked at.
    """
    most = max(
        2 * limits.answers,
        limits.questions,
        limits.pipelined_calls,
        limits.exports,
        limits.imports,
        limits.capabilities,
    )
    stack: list[tuple[str, Any]] = [("connection", core)]
    seen: set[int] = set()
    while stack:
        name, holder = stack.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        for field, value in _fields(holder):
            path = f"{name}.{field}"
            if isinstance(value, _COLLECTIONS) and len(value) > most:
                raise FaultError(f"{path} holds {len(value)} things; {most} are allowed")
            if isinstance(value, Mapping):
                stack += [(f"{path}[]", entry) for entry in list(value.values()) if _ours(entry)]
            elif _ours(value):
                stack.append((path, value))


def _ours(value: object) -> bool:
    return type(value).__module__.startswith("capenv.rpc.") and not isinstance(value, Limits)


def _fields(holder: object) -> Iterator[tuple[str, Any]]:
    yield from getattr(holder, "__dict__", {}).items()
    for kind in type(holder).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if name != "__weakref__" and hasattr(holder, name):
                yield name, getattr(holder, name)
