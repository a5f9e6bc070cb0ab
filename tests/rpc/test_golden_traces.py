"""Our connection sends what the golden traces say: as their client, and as their server."""

import gc
import re
from itertools import groupby

import pytest
from golden_player import SCRIPTS, Player
from golden_text import message_of, text_of
from golden_traces import CLIENT, SERVER, TRACES, Row, rows_of


class Ours:
    """What our side sends, to be compared with its rows of a trace."""

    def __init__(self, rows: list[Row]) -> None:
        self.due = rows
        """Rows to come, those elsewhere too."""
        self.sent: list[str] = []
        """Messages not compared yet."""
        self.ids: dict[str, str] = {}
        """Ids of questions as the trace has them, by those that our side chose."""

    def as_traced(self, message: str) -> str:
        """Return a message of ours under the ids of the trace."""
        return re.sub(r"\bq\d+", lambda found: self.ids.get(found[0], found[0]), message)

    def as_sent(self, message: str) -> str:
        """Return a message of the peer's, in which questions of ours are answers, under our ids."""
        ours = {f"a{theirs[1:]}": f"a{mine[1:]}" for mine, theirs in self.ids.items()}
        return re.sub(r"\ba\d+", lambda found: ours[found[0]], message)

    def check(self, row: Row) -> None:
        """Have a row sent here, unless it was elsewhere before or may be elsewhere later."""
        if row not in self.due:
            return
        self.due.remove(row)
        others = [other for other in self.due if other.number == row.number]
        if self.sent and self._is(self.sent[0], row):
            del self.sent[0]
            self.due = [other for other in self.due if other not in others]
        else:
            assert others, f"due is {row.said}, but sent was {self.sent}"

    def _is(self, message: str, row: Row) -> bool:
        asked, due = (_ASKED.match(text) for text in (message, row.said))
        if asked is not None and due is not None:
            self.ids = {mine: theirs for mine, theirs in self.ids.items() if theirs != due[1]}
            self.ids[asked[1]] = due[1]
        return self.as_traced(message) in (row.said, row.brief)


_ASKED = re.compile(r"(?:bootstrap|call)\((q\d+)")


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
@pytest.mark.parametrize("ours", [CLIENT, SERVER], ids=["client", "server"])
@pytest.mark.parametrize("name", TRACES)
def test_our_side_of_a_trace(name: str, ours: str, at_once: bool) -> None:
    """Messages of the peer that follow each other arrive one by one, or all before any is acted upon."""
    rows = rows_of(TRACES[name])
    player = Player(SCRIPTS[name] if ours == CLIENT else None)
    compared = Ours([row for row in rows if row.sender == ours])
    compared.sent += player.sent()
    for sender, run in groupby(rows, lambda row: row.sender):
        if sender == ours:
            for row in run:
                compared.check(row)
            continue
        arriving = [compared.as_sent(row.said) for row in run if not row.elsewhere]
        for batch in [arriving] if at_once else [[message] for message in arriving]:
            player.receive(batch)
            compared.sent += player.sent()
    gc.collect()  # nothing is due that only garbage holds back
    assert compared.sent + player.sent() == []
    assert compared.due == []
    assert player.core.idle
    assert player.core.closed is None
    assert player.done


@pytest.mark.parametrize("name", TRACES)
def test_the_notation_says_all(name: str) -> None:
    for row in rows_of(TRACES[name]):
        for text in (row.said, row.brief):
            assert text_of(message_of(text)) == text
