"""One frozen value for each arm of `Message` in `rpc.capnp`, and for the unions within."""

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from capenv.rpc.pointers import Segments


@attrs.frozen
class NoCapability:
    """`CapDescriptor.none`: a null capability."""


@attrs.frozen
class SenderHosted:
    """`CapDescriptor.senderHosted`: an export of the sender, or with `promise` its `senderPromise`."""

    id: int
    promise: bool = False
    attached: int = 0xFF
    """Which of the message's descriptors is the capability's (`CapDescriptor.attachedFd`); 0xFF is none."""


@attrs.frozen
class ReceiverHosted:
    """`CapDescriptor.receiverHosted`: an export of the receiver."""

    id: int


@attrs.frozen
class PromisedAnswer:
    """`PromisedAnswer`: a capability in the results of a question, by the path of pointer fields to it."""

    question_id: int
    transform: tuple[int, ...] = ()


@attrs.frozen
class ReceiverAnswer:
    """`CapDescriptor.receiverAnswer`: a capability in the results of a question of the sender."""

    answer: PromisedAnswer


@attrs.frozen
class UnknownDescriptor:
    """A descriptor of a kind that rpc.capnp did not have when this was written."""

    tag: int


Descriptor: TypeAlias = (
    NoCapability | SenderHosted | ReceiverHosted | ReceiverAnswer | UnknownDescriptor
)


@attrs.frozen
class ImportedTarget:
    """`MessageTarget.importedCap`: an export of the receiver."""

    id: int


MessageTarget: TypeAlias = ImportedTarget | PromisedAnswer


@attrs.frozen(eq=False)
class Payload:
    """`Payload`: a body, as a message of its own whose root is the content, and its capability table."""

    segments: Segments
    table: Sequence[Descriptor] = ()
    descriptors: Sequence[int] = ()
    """The system's, that travel with the message."""


@attrs.frozen
class WireException:
    """`Exception`: the kind of failure (`Exception.Type`, or a number unknown to us) and its reason."""

    kind: int
    reason: str


@attrs.frozen
class Bootstrap:
    """`Bootstrap`: ask for the receiver's first capability."""

    question_id: int


@attrs.frozen(eq=False)
class Call:
    """`Call`: call a method on a capability that the receiver hosts or has promised."""

    question_id: int
    target: MessageTarget
    interface_id: int
    method_id: int
    params: Payload
    results_to_yourself: bool = False
    no_promise_pipelining: bool = False
    only_promise_pipeline: bool = False


@attrs.frozen(eq=False)
class Results:
    """`Return.results`."""

    payload: Payload


@attrs.frozen
class Canceled:
    """`Return.canceled`."""


@attrs.frozen
class ResultsSentElsewhere:
    """`Return.resultsSentElsewhere`."""


@attrs.frozen
class TakeFromOtherQuestion:
    """`Return.takeFromOtherQuestion`."""

    question_id: int


Outcome: TypeAlias = (
    Results | WireException | Canceled | ResultsSentElsewhere | TakeFromOtherQuestion
)


@attrs.frozen(eq=False)
class Return:
    """`Return`: how a call ended."""

    answer_id: int
    outcome: Outcome
    release_param_caps: bool = False
    no_finish_needed: bool = False


@attrs.frozen
class Finish:
    """`Finish`: the caller wants nothing more of an answer."""

    question_id: int
    release_result_caps: bool
    early_cancellation_workaround: bool = False


@attrs.frozen
class Resolve:
    """`Resolve`: what a promise became."""

    promise_id: int
    resolution: Descriptor | WireException


@attrs.frozen
class Release:
    """`Release`: references given back."""

    id: int
    reference_count: int


@attrs.frozen
class SenderLoopback:
    """`Disembargo.context.senderLoopback`."""

    embargo_id: int


@attrs.frozen
class ReceiverLoopback:
    """`Disembargo.context.receiverLoopback`."""

    embargo_id: int


@attrs.frozen
class Disembargo:
    """`Disembargo`: an echo through a path that a promise resolution makes shorter."""

    target: MessageTarget
    context: SenderLoopback | ReceiverLoopback


@attrs.frozen
class Abort:
    """`Abort`: the sender ends the connection."""

    exception: WireException


@attrs.frozen(eq=False)
class Unimplemented:
    """`Unimplemented`: the message that the sender of this did not understand; None if it was null."""

    message: "Message | None"


@attrs.frozen(eq=False)
class Unknown:
    """A message, or an arm of one, that this implementation does not know. To be echoed whole."""

    tag: int
    segments: Segments


Message: TypeAlias = (
    Bootstrap
    | Call
    | Return
    | Finish
    | Resolve
    | Release
    | Disembargo
    | Abort
    | Unimplemented
    | Unknown
)
