"""RPC messages as text and back, in the notation of the golden traces.

    call(q1, promisedAnswer(q0), same(senderHosted 0))
    return(a1, results(receiverHosted 0))

A content is written as what its pointers hold, in their order: texts in quotes, capabilities as their
descriptors. Flags are named where they are set, and left out where not.
"""

import re
from collections.abc import Sequence

from rpc_schema import PROBE

from capenv.rpc.builder import Builder, capability_pointer
from capenv.rpc.messages import (
    Bootstrap,
    Call,
    Canceled,
    Descriptor,
    Disembargo,
    Finish,
    ImportedTarget,
    Message,
    MessageTarget,
    Outcome,
    Payload,
    PromisedAnswer,
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
)
from capenv.rpc.pointers import CapabilityPointer, Struct, follow

# As text.


def text_of(message: Message) -> str:
    """Write a message."""
    match message:
        case Bootstrap(question_id=question):
            return f"bootstrap(q{question})"
        case Call():
            method = PROBE.by_id[message.interface_id, message.method_id]
            flags = _flags(
                yourself=message.results_to_yourself,
                noPromisePipelining=message.no_promise_pipelining,
                onlyPromisePipeline=message.only_promise_pipeline,
            )
            params = ", ".join(_content(message.params))
            return f"call(q{message.question_id}, {_target(message.target)}, {method}({params}){flags})"
        case Return():
            flags = _flags(
                releaseParamCaps=message.release_param_caps, noFinishNeeded=message.no_finish_needed
            )
            return f"return(a{message.answer_id}, {_outcome(message.outcome)}{flags})"
        case Finish(question_id=question):
            flags = _flags(
                releaseResultCaps=message.release_result_caps,
                requireEarlyCancellationWorkaround=message.early_cancellation_workaround,
            )
            return f"finish(q{question}{flags})"
        case Resolve(promise_id=promise, resolution=resolution):
            return f"resolve({promise}, {_descriptor(resolution)})"
        case Release(id=export, reference_count=count):
            return f"release({export}, {count})"
        case Disembargo(target=target, context=SenderLoopback(embargo_id=embargo)):
            return f"disembargo({_target(target)}, senderLoopback {embargo})"
        case Disembargo(target=target, context=ReceiverLoopback(embargo_id=embargo)):
            return f"disembargo({_target(target)}, receiverLoopback {embargo})"
        case _:
            return str(message)


def _flags(**flags: bool) -> str:
    return "".join(f", {name}" for name, there in flags.items() if there)


def _target(target: MessageTarget) -> str:
    match target:
        case ImportedTarget(id=export):
            return f"importedCap {export}"
        case PromisedAnswer(question_id=question, transform=path):
            return f"promisedAnswer({', '.join([f'q{question}', *map(str, path)])})"


def _descriptor(descriptor: object) -> str:
    match descriptor:
        case SenderHosted(id=export, promise=promise):
            return f"{'senderPromise' if promise else 'senderHosted'} {export}"
        case ReceiverHosted(id=export):
            return f"receiverHosted {export}"
        case _:
            return str(descriptor)


def _outcome(outcome: Outcome) -> str:
    match outcome:
        case Results(payload=payload):
            return f"results({', '.join(_content(payload))})"
        case Canceled():
            return "canceled"
        case ResultsSentElsewhere():
            return "resultsSentElsewhere"
        case TakeFromOtherQuestion(question_id=question):
            return f"takeFromOtherQuestion {question}"
        case _:
            return str(outcome)


def _content(payload: Payload) -> list[str]:
    match follow(payload.segments, 0, 0):
        case CapabilityPointer(index=index):
            return [f"={_descriptor(payload.table[index])}"]
        case Struct() as root:
            fields: list[str] = []
            while root.slot(len(fields)) is not None:
                match root.pointer(len(fields)):
                    case CapabilityPointer(index=index):
                        fields.append(_descriptor(payload.table[index]))
                    case _:
                        fields.append(f'"{root.text(len(fields))}"')
            return fields
        case nothing:
            return [] if nothing is None else [str(nothing)]


# From text.

_WORDS = re.compile(r'"[^"]*"|\w+|[(),=]')


def message_of(text: str) -> Message:
    """Read a message."""
    kind, *words = _WORDS.findall(text)
    depth, parts = 0, list[list[str]]([[]])
    for word in words[1:-1]:
        if word == "," and not depth:
            parts.append([])
        else:
            depth += (word == "(") - (word == ")")
            parts[-1].append(word)
    first, *rest = parts
    flags = {part[0] for part in rest}
    match kind:
        case "bootstrap":
            return Bootstrap(_id(first))
        case "call":
            (name, *params), target = rest[1], _read_target(rest[0])
            method, payload = PROBE[name], _read_content(params)
            return Call(
                _id(first), target, method.interface_id, method.id, payload, "yourself" in flags
            )
        case "return":
            released, final = "releaseParamCaps" in flags, "noFinishNeeded" in flags
            return Return(_id(first), _read_outcome(rest[0]), released, final)
        case "finish":
            return Finish(_id(first), "releaseResultCaps" in flags)
        case "release":
            return Release(_id(first), _id(rest[0]))
        case "resolve":
            return Resolve(_id(first), _read_descriptor(rest[0]))
        case "disembargo":
            (context, number), target = rest[0], _read_target(first)
            if context == "senderLoopback":
                return Disembargo(target, SenderLoopback(int(number)))
            return Disembargo(target, ReceiverLoopback(int(number)))
        case _:
            raise ValueError(text)


def _id(words: Sequence[str]) -> int:
    return int(words[-1].lstrip("qa"))


def _read_target(words: Sequence[str]) -> MessageTarget:
    if words[0] == "importedCap":
        return ImportedTarget(_id(words))
    question, *path = [word for word in words[1:] if word.isalnum()]
    return PromisedAnswer(_id([question]), tuple(map(int, path)))


def _read_descriptor(words: Sequence[str]) -> Descriptor:
    kind, number = words
    match kind:
        case "receiverHosted":
            return ReceiverHosted(int(number))
        case _:
            return SenderHosted(int(number), promise=kind == "senderPromise")


def _read_outcome(words: Sequence[str]) -> Outcome:
    match words:
        case ["results", *content]:
            return Results(_read_content(content))
        case ["takeFromOtherQuestion", question]:
            return TakeFromOtherQuestion(int(question))
        case ["canceled"]:
            return Canceled()
        case _:
            return ResultsSentElsewhere()


def _read_content(words: Sequence[str]) -> Payload:
    """Build a content: of a struct of pointers, or after = of a bare capability."""
    fields = re.findall(r'"[^"]*"|\w+ \d+', " ".join(words))
    table = [_read_descriptor(field.split()) for field in fields if field[0] != '"']
    if "=" in words:
        return Payload([bytearray(capability_pointer(0).to_bytes(8, "little"))], table)
    builder, capabilities = Builder(bytearray(8)), iter(range(len(table)))
    root = builder.struct(0, 0, len(fields))
    for slot, field in enumerate(fields, root):
        if field[0] == '"':
            builder.text(slot, field[1:-1])
        else:
            builder.word(slot, capability_pointer(next(capabilities)))
    return Payload([builder.segment], table)
