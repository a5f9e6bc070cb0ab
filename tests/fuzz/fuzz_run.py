"""The run: connection after connection, each wholly determined by the seed and its number."""

import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

import attrs
from fuzz_bounds import ALLOCATED_BYTES, GROWTH_BYTES, Watch, check_tables, most_resident, resident
from fuzz_flows import LIMITS, Agent, Flow
from fuzz_mutations import Piece, meddle, split
from fuzz_peer import FaultError, Peer

_SAMPLED = 64
"""One in so many connections has its allocations measured."""
_CHECKED = 32
"""One in so many messages has the tables looked at afterwards."""
WARM_MESSAGES = 20_000
"""After so many messages the process has what memory it needs."""


class FoundError(Exception):
    """A connection on which something happened that must not."""


@attrs.define
class Tally:
    """What happened so far."""

    connections: int = 0
    pieces: int = 0
    """All that arrived: the mutated messages, and sound ones, some of them several at once."""
    mutated: int = 0
    ended: Counter[str] = attrs.field(factory=Counter)
    """How connections ended: by the class of the error, or not by themselves."""
    calls_failed: Counter[str] = attrs.field(factory=Counter)
    unread: Counter[str] = attrs.field(factory=Counter)
    """Results that the client could not read, by the class of the error."""
    warm_bytes: int = 0
    end_bytes: int = 0
    most_bytes: int = 0


class Fuzzer:
    """Runs connections and counts. What must not happen raises `FoundError`."""

    def __init__(self, seed: int, flows: Sequence[Flow], reports: Path) -> None:
        self.seed = seed
        self.tally = Tally()
        self.watch = Watch()
        self._flows = flows
        self._others = [m for flow in flows for m in (*flow.to_server, *flow.to_client)]
        self._reports = reports
        self._fed: list[bytes] = []

    def run(self, connection: int) -> None:
        """Play one connection to its end.

        Raises:
            FoundError: it broke a rule; what it was is in a file.
        """
        if connection % _SAMPLED == 0:
            self.watch.still_running()
            self._reports.mkdir(exist_ok=True)
            # Who crashes leaves behind where: the connection is among the next few.
            (self._reports / f"running-{self.seed}").write_text(f"{connection}\n")
        self._fed = []
        try:
            with ExitStack() as stack:
                if connection % _SAMPLED == 1:
                    stack.enter_context(self.watch.allocations(connection))
                self._play(connection)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise FoundError(self._report(connection, error)) from error
        self.tally.connections += 1

    def finish(self) -> None:
        """Judge the memory, and leave no file behind.

        Raises:
            FoundError: it grew too much.
        """
        tally = self.tally
        tally.end_bytes, tally.most_bytes = resident(), most_resident()
        (self._reports / f"running-{self.seed}").unlink(missing_ok=True)
        for what, amount, most in (
            ("at the end", tally.end_bytes, GROWTH_BYTES),
            ("at its most", tally.most_bytes, ALLOCATED_BYTES),
        ):
            if tally.warm_bytes and amount - tally.warm_bytes > most:
                raise FoundError(
                    f"{amount >> 20} MiB {what}, after {tally.warm_bytes >> 20} MiB once warm"
                )

    def _play(self, connection: int) -> None:
        random = Random(f"{self.seed}/{connection}")
        flow = random.choice(self._flows)
        agent: Agent | None = None
        if random.random() < 0.6:
            peer, messages, soonest = Peer(flow.offer(), LIMITS), flow.to_server, flow.handshake
        else:
            agent = Agent(flow)
            agent.begin()
            peer, messages, soonest = agent.peer, flow.to_client, 0
        # What comes before is sound: near the beginning, mostly, where it costs little.
        first = min(random.randrange(soonest, len(messages)) for _ in range(2))
        pieces = meddle(random, messages, first, self._others)
        if random.random() < 0.05:
            pieces = meddle(random, messages, 0, self._others)
        for piece in pieces:
            if not self._feed(connection, random, peer, piece):
                break
        closed = peer.core.closed
        error = peer.end()
        self.tally.ended[type(error).__name__ if closed else "not by itself"] += 1
        self.tally.calls_failed.update(peer.failures)
        if agent is not None:
            self.tally.unread.update(agent.unread)

    def _feed(self, connection: int, random: Random, peer: Peer, piece: Piece) -> bool:
        begun = self.watch.begin()
        for part in split(random, piece.data) if piece.mutated else (piece.data,):
            self._fed.append(part)
            peer.take(part)
            peer.flush()
        self.watch.done(begun, connection)
        tally = self.tally
        tally.pieces += 1
        tally.mutated += piece.mutated
        if tally.pieces % _CHECKED == 0:
            check_tables(peer.core, LIMITS)
        if not tally.warm_bytes and tally.mutated >= WARM_MESSAGES:
            tally.warm_bytes = resident()
        return peer.core.closed is None

    def _report(self, connection: int, error: BaseException) -> str:
        """Write down what led to an error; return what to tell."""
        again = f"python tests/fuzz/fuzz_receive.py --seed {self.seed} --connection {connection}"
        path = self._reports / f"failure-{self.seed}-{connection}.txt"
        self._reports.mkdir(exist_ok=True)
        lines = [again, "", *traceback.format_exception(error), "", "The bytes that were received:"]
        path.write_text("\n".join([*lines, *(part.hex() for part in self._fed), ""]))
        kind = "" if isinstance(error, FaultError) else f"{type(error).__name__}: "
        return f"connection {connection}: {kind}{error}\nsee {path}; again: {again}"
