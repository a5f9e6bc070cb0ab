"""What a connection tells its driver."""

from typing import TypeAlias

import attrs

from capenv.errors import CapenvError
from capenv.rpc.answer import Answer
from capenv.rpc.capability import Content


@attrs.frozen(eq=False)
class CallReceived:
    """A method of an object of ours is to be started. The driver owes `answer` a return or a failure."""

    answer: Answer
    servant: object
    interface_id: int
    method_id: int
    content: Content


@attrs.frozen(eq=False)
class CallCanceled:
    """Nobody wants the answer any more; stop working for it. It is owed all the same."""

    answer: Answer


@attrs.frozen(eq=False)
class Returned:
    """A call of our own has its outcome."""

    answer: Answer


@attrs.frozen(eq=False)
class Released:
    """No peer holds references to an object of ours any more, or results that held its first were dropped."""

    servant: object


@attrs.frozen(eq=False)
class Closed:
    """The connection has ended. Nothing follows but what late answers drop; send what is left."""

    error: CapenvError


Event: TypeAlias = CallReceived | CallCanceled | Returned | Released | Closed
