"""Every bound on what a peer may make us hold, in one place."""

from typing import Final

import attrs


@attrs.frozen
class Limits:
    """Bounds of one connection. Passing one fails that call, or ends the connection with a reason."""

    message_bytes: int = 64 << 20
    """The longest message taken: what the C++ implementation takes by default (8 Mi words)."""

    segments: int = 512
    """Segments in one message, as in the C++ implementation."""

    capabilities: int = 1024
    """Entries in the capability table of one message."""

    transform: int = 64
    """Steps in the path of a pipelined call (`PromisedAnswer.transform`)."""

    answers: int = 4096
    """Calls of the peer in flight. More are refused, and twice as many end the connection."""

    questions: int = 4096
    """Calls of our own in flight, and more are refused: what a peer with our limits takes."""

    call_bytes: int = 256 << 20
    """Bytes of the params of the peer's calls in flight, and of results kept until their Finish; a call
    beyond is refused."""

    pipelined_calls: int = 1024
    """Calls waiting for one answer."""

    exports: int = 65536
    """Objects that the peer holds references to."""

    imports: int = 65536
    """Objects of the peer's that we hold references to: what a peer with our limits gives out. One more
    ends the connection."""

    traversal_factor: int = 8
    """How many times over the words of a message may be read before reading it fails: lists may share
    what they point to, so that a small message can stand for a vast tree."""

    queued_bytes: int = 64 << 20
    """Bytes that wait for the peer to read. While there are more none of its calls is begun, and calls of
    our own are refused."""

    stream_window: int = 256 << 10
    """Bytes of streaming calls on one object that are on their way before their caller has to wait."""

    nesting: int = 64
    """Pointers within pointers of a message that are followed: what the C++ implementation does."""

    handshake_seconds: float = 10.0
    """How long a new peer may take to say hello and show what it may have."""

    idle_seconds: float | None = 86_400.0
    """How long a peer may say nothing at all before the connection ends; None is for ever."""


DEFAULT: Final = Limits()
