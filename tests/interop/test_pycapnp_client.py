"""pycapnp's own C++-backed RPC calls our Trio server."""

from pycapnp_peers import Served

from capenv.errors import Disconnected


def test_calls_and_pipelines(served: Served) -> None:
    assert served.run("basics") == ["hello", "second", "third"]


def test_calls_start_in_their_order(served: Served) -> None:
    expected = [str(number) for number in range(40)]
    assert served.run("order") == expected
    assert served.probe.log == expected


def test_a_capability_of_the_caller_is_called_back_and_returned_and_released(
    served: Served,
) -> None:
    assert served.run("callbacks") == ["back", "mine", ["back"], 0, 1]


def test_errors(served: Served) -> None:
    fell, secret, missing, still = served.run("errors")
    assert "EnvironmentFailed: it fell over" in fell[1]
    assert "ValueError" in secret[1]
    assert "swordfish" not in secret[1]
    assert missing[0] == "UNIMPLEMENTED"
    assert still == "still there"


def test_a_canceled_call_stops_its_handler(served: Served) -> None:
    assert served.run("cancels") == [1, 0]


def test_objects_are_released_when_the_caller_drops_them(served: Served) -> None:
    assert served.run("releases") == ["0", "1", "2", "3", "4"]
    assert [child.releases for child in served.probe.children] == [1] * 5


def test_thirty_megabytes_there_and_back(served: Served) -> None:
    assert served.run("data") == [30 << 20, True]


def test_the_caller_learns_why_we_close(served: Served) -> None:
    def close(line: str) -> None:
        if line == "hanging":
            assert served.connection is not None
            served.connection.close(Disconnected("closing time"))

    kind, reason = served.run("disconnect", close)
    assert kind == "DISCONNECTED"
    assert "closing time" in reason
    assert served.probe.hanging == 0


def test_a_caller_that_leaves_leaves_nothing_behind(served: Served) -> None:
    assert served.run("leave") == "left"
    assert served.probe.hanging == 0
    assert served.probe.releases == 1
