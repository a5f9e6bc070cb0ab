"""Messages of every kind, for Hypothesis: as our values, and as pycapnp writes and reads them."""

from typing import Any

import attrs
from hypothesis import strategies as st
from rpc_schema import BODY, bodies, body_segments, fill, first_segment_words, probe, read_body

from capenv.rpc.messages import (
    Abort,
    Bootstrap,
    Call,
    Canceled,
    Descriptor,
    Disembargo,
    Finish,
    ImportedTarget,
    Message,
    MessageTarget,
    NoCapability,
    Payload,
    PromisedAnswer,
    ReceiverAnswer,
    ReceiverHosted,
    ReceiverLoopback,
    Release,
    Resolve,
    Results,
    ResultsSentElsewhere,
    Return,
    SenderHosted,
    SenderLoopback,
    TakeFromOtherQuestion,
    WireException,
)
from capenv.rpc.pointers import follow

ids = st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1))
paths = st.lists(st.integers(0, 2**16 - 1), max_size=5).map(tuple)
answers = st.builds(PromisedAnswer, ids, paths)
targets: st.SearchStrategy[MessageTarget] = st.one_of(st.builds(ImportedTarget, ids), answers)
descriptors: st.SearchStrategy[Descriptor] = st.one_of(
    st.just(NoCapability()),
    st.builds(SenderHosted, ids, st.booleans()),
    st.builds(ReceiverHosted, ids),
    st.builds(ReceiverAnswer, answers),
)
exceptions = st.builds(WireException, st.integers(0, 3), st.text(max_size=30))


@attrs.frozen(eq=False)
class BodyPayload(Payload):
    """A payload with the value that it was made from."""

    body: dict[str, Any] | None = None


def body_payload(body: dict[str, Any] | None, words: int, table: list[Descriptor]) -> BodyPayload:
    # A null content is a message of one null pointer.
    segments = [bytearray(8)] if body is None else body_segments(body, words)
    return BodyPayload(segments, table, body=body)


payloads = st.builds(
    body_payload,
    st.one_of(st.none(), bodies),
    first_segment_words,
    st.lists(descriptors, max_size=4),
)
outcomes = st.one_of(
    st.builds(Results, payloads),
    exceptions,
    st.just(Canceled()),
    st.just(ResultsSentElsewhere()),
    st.builds(TakeFromOtherQuestion, ids),
)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Bootstrap, ids),
    st.builds(
        Call,
        ids,
        targets,
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**16 - 1),
        payloads,
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(Return, ids, outcomes, st.booleans(), st.booleans()),
    st.builds(Finish, ids, st.booleans(), st.booleans()),
    st.builds(Resolve, ids, st.one_of(descriptors, exceptions)),
    st.builds(Release, ids, ids),
    st.builds(
        Disembargo,
        targets,
        st.one_of(st.builds(SenderLoopback, ids), st.builds(ReceiverLoopback, ids)),
    ),
    st.builds(Abort, exceptions),
)


def plain(value: Any) -> Any:
    """Return a message as nested tuples that can be compared, its bodies by what they hold."""
    match value:
        case Payload():
            root = follow(value.segments, 0, 0)
            body = None if root is None else read_body(BODY.read(value.segments))
            return "payload", body, tuple(value.table)
        case _ if attrs.has(type(value)):
            fields = attrs.fields(type(value))
            return type(value).__name__, *(plain(getattr(value, field.name)) for field in fields)
        case _:
            return value


# What pycapnp writes.


def write(builder: Any, message: Message) -> None:
    """Write a message with pycapnp, into a builder of `Message`."""
    match message:
        case Bootstrap(question_id=question_id):
            builder.init("bootstrap").questionId = question_id
        case Call():
            call = builder.init("call")
            call.questionId = message.question_id
            _write_target(call.target, message.target)
            call.interfaceId, call.methodId = message.interface_id, message.method_id
            setattr(
                call.sendResultsTo, "yourself" if message.results_to_yourself else "caller", None
            )
            call.noPromisePipelining = message.no_promise_pipelining
            call.onlyPromisePipeline = message.only_promise_pipeline
            _write_payload(call.params, message.params)
        case Return():
            _write_return(builder.init("return"), message)
        case Finish():
            finish = builder.init("finish")
            finish.questionId = message.question_id
            finish.releaseResultCaps = message.release_result_caps
            finish.requireEarlyCancellationWorkaround = message.early_cancellation_workaround
        case Resolve(promise_id=promise_id, resolution=resolution):
            resolve = builder.init("resolve")
            resolve.promiseId = promise_id
            if isinstance(resolution, WireException):
                _write_exception(resolve.init("exception"), resolution)
            else:
                _write_descriptor(resolve.init("cap"), resolution)
        case Release(id=export_id, reference_count=count):
            release = builder.init("release")
            release.id, release.referenceCount = export_id, count
        case Disembargo(target=target, context=context):
            disembargo = builder.init("disembargo")
            _write_target(disembargo.target, target)
            if isinstance(context, SenderLoopback):
                disembargo.context.senderLoopback = context.embargo_id
            else:
                disembargo.context.receiverLoopback = context.embargo_id
        case Abort(exception=exception):
            _write_exception(builder.init("abort"), exception)
        case _:
            raise AssertionError(message)


def _write_return(builder: Any, message: Return) -> None:
    builder.answerId = message.answer_id
    builder.releaseParamCaps = message.release_param_caps
    builder.noFinishNeeded = message.no_finish_needed
    match message.outcome:
        case Results(payload=payload):
            _write_payload(builder.init("results"), payload)
        case WireException() as exception:
            _write_exception(builder.init("exception"), exception)
        case Canceled():
            builder.canceled = None
        case ResultsSentElsewhere():
            builder.resultsSentElsewhere = None
        case TakeFromOtherQuestion(question_id=question_id):
            builder.takeFromOtherQuestion = question_id


def _write_payload(builder: Any, payload: Payload) -> None:
    assert isinstance(payload, BodyPayload)
    if payload.body is not None:
        fill(builder.content.as_struct(probe.Body.schema), payload.body)
    if payload.table:
        for entry, descriptor in zip(
            builder.init("capTable", len(payload.table)), payload.table, strict=True
        ):
            _write_descriptor(entry, descriptor)


def _write_descriptor(builder: Any, descriptor: Descriptor) -> None:
    match descriptor:
        case NoCapability():
            builder.none = None
        case SenderHosted(id=export_id, promise=promise):
            setattr(builder, "senderPromise" if promise else "senderHosted", export_id)
        case ReceiverHosted(id=import_id):
            builder.receiverHosted = import_id
        case ReceiverAnswer(answer=answer):
            _write_answer(builder.init("receiverAnswer"), answer)


def _write_target(builder: Any, target: MessageTarget) -> None:
    if isinstance(target, ImportedTarget):
        builder.importedCap = target.id
    else:
        _write_answer(builder.init("promisedAnswer"), target)


def _write_answer(builder: Any, answer: PromisedAnswer) -> None:
    builder.questionId = answer.question_id
    if answer.transform:
        operations = builder.init("transform", len(answer.transform))
        for operation, index in zip(operations, answer.transform, strict=True):
            operation.getPointerField = index


def _write_exception(builder: Any, exception: WireException) -> None:
    builder.reason = exception.reason
    builder.type = exception.kind


# What pycapnp reads.


def read(reader: Any) -> Message:
    """Read a message with pycapnp."""
    match reader._which_str():
        case "bootstrap":
            return Bootstrap(reader.bootstrap.questionId)
        case "call":
            call = reader.call
            destination = call.sendResultsTo._which_str()
            assert destination in ("caller", "yourself")
            return Call(
                call.questionId,
                _read_target(call.target),
                call.interfaceId,
                call.methodId,
                _read_payload(call.params),
                destination == "yourself",
                call.noPromisePipelining,
                call.onlyPromisePipeline,
            )
        case "return":
            body = getattr(reader, "return")
            return Return(
                body.answerId, _read_outcome(body), body.releaseParamCaps, body.noFinishNeeded
            )
        case "finish":
            finish = reader.finish
            return Finish(
                finish.questionId,
                finish.releaseResultCaps,
                finish.requireEarlyCancellationWorkaround,
            )
        case "resolve":
            resolve = reader.resolve
            if resolve._which_str() == "exception":
                return Resolve(resolve.promiseId, _read_exception(resolve.exception))
            return Resolve(resolve.promiseId, _read_descriptor(resolve.cap))
        case "release":
            return Release(reader.release.id, reader.release.referenceCount)
        case "disembargo":
            context = reader.disembargo.context
            target = _read_target(reader.disembargo.target)
            if context._which_str() == "senderLoopback":
                return Disembargo(target, SenderLoopback(context.senderLoopback))
            return Disembargo(target, ReceiverLoopback(context.receiverLoopback))
        case "abort":
            return Abort(_read_exception(reader.abort))
        case which:
            raise AssertionError(which)


def _read_outcome(body: Any) -> Any:
    match body._which_str():
        case "results":
            return Results(_read_payload(body.results))
        case "exception":
            return _read_exception(body.exception)
        case "canceled":
            return Canceled()
        case "resultsSentElsewhere":
            return ResultsSentElsewhere()
        case "takeFromOtherQuestion":
            return TakeFromOtherQuestion(body.takeFromOtherQuestion)
        case which:
            raise AssertionError(which)


def _read_payload(payload: Any) -> BodyPayload:
    body = (
        read_body(payload.content.as_struct(probe.Body.schema)) if payload._has("content") else None
    )
    table = [_read_descriptor(entry) for entry in payload.capTable]
    return BodyPayload(_segments_of(body), table)


def _segments_of(body: dict[str, Any] | None) -> list[bytearray]:
    if body is None:
        return [bytearray(8)]

    def pruned(value: dict[str, Any]) -> dict[str, Any]:
        kept = {name: field for name, field in value.items() if field is not None}
        kept["children"] = [pruned(child) for child in value["children"]]
        if "inner" in kept:
            kept["inner"] = pruned(kept["inner"])
        return kept

    return body_segments(pruned(body))


def _read_descriptor(reader: Any) -> Descriptor:
    match reader._which_str():
        case "none":
            return NoCapability()
        case "senderHosted":
            return SenderHosted(reader.senderHosted)
        case "senderPromise":
            return SenderHosted(reader.senderPromise, promise=True)
        case "receiverHosted":
            return ReceiverHosted(reader.receiverHosted)
        case "receiverAnswer":
            return ReceiverAnswer(_read_answer(reader.receiverAnswer))
        case which:
            raise AssertionError(which)


def _read_target(reader: Any) -> MessageTarget:
    if reader._which_str() == "importedCap":
        return ImportedTarget(reader.importedCap)
    return _read_answer(reader.promisedAnswer)


def _read_answer(reader: Any) -> PromisedAnswer:
    return PromisedAnswer(
        reader.questionId, tuple(operation.getPointerField for operation in reader.transform)
    )


def _read_exception(reader: Any) -> WireException:
    return WireException(reader.type.raw, reader.reason)
