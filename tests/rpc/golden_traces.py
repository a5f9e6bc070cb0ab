"""What passes between two peers in four scenarios, as recorded between pycapnp 2.2.4 and itself.

Each line is a message, of the client (-->) or of the server (<--), in the notation of `golden_text`. That
pycapnp sends exactly this is shown by tests/interop/test_pycapnp_golden.py. Our side may differ from it
where rpc.capnp leaves it free, and only as written here:

- `~~>` and `<~~` are another place where the message of the same text may stand instead.
- What stands in square brackets may be left out.
- The id of a question is whatever its sender chooses (`QuestionId`), so that an earlier Finish means
  that a later question may have another id.
"""

import re

import attrs

ECHO = """
--> bootstrap(q0)
--> call(q1, promisedAnswer(q0), same(senderHosted 0))
--> call(q2, promisedAnswer(q1, 0), echo("1"))
<-- return(a0, results(=senderHosted 0)[, releaseParamCaps])    # a Bootstrap has no params to release
<~~ return(a1, results(receiverHosted 0))                       # see below
<-- call(q0, importedCap 0, echo("1"), yourself)                # the client's own call comes back
<-- return(a2, takeFromOtherQuestion 0)
<-- return(a1, results(receiverHosted 0))
--> finish(q0)
--> return(a0, resultsSentElsewhere)
~~> finish(q2)                                                  # as soon as its results are here
--> disembargo(promisedAnswer(q1, 0), senderLoopback 0)         # calls "2" and "3" are held meanwhile
--> finish(q1)
~~> return(a0, resultsSentElsewhere)                            # "doesn't matter too much when"
--> finish(q2)
<-- finish(q0)
<-- disembargo(importedCap 0, receiverLoopback 0)               # now "2" and "3" are delivered
<-- release(0, 1)
<~~ finish(q0)                                                  # whenever nobody wants its results
--> release(0, 1)
"""
"""The client gives `same` an object of its own, and calls what comes back before and after it is there.

The server may return `same` before it sends back what was pipelined on it: all that the caller may rely on
is that whatever was called before is sent back before the Disembargo is (`Disembargo.senderLoopback`: "As
soon as the receiver has echoed back all pipelined calls on this promise, it will deliver the Disembargo").
"""

LAZY = """
--> bootstrap(q0)
--> call(q1, promisedAnswer(q0), later(senderHosted 0))
<-- return(a0, results(=senderHosted 0)[, releaseParamCaps])
<-- return(a1, results(senderPromise 1))
--> finish(q0)
~~> finish(q1)                                                  # see below
--> call(q0, importedCap 1, echo("1"))
--> call(q2, importedCap 0, settle())
<-- return(a2, results(), noFinishNeeded)
<~~ resolve(1, receiverHosted 0)                                # as in ECHO
<-- call(q0, importedCap 0, echo("1"), yourself)
<-- return(a0, takeFromOtherQuestion 0)
<-- resolve(1, receiverHosted 0)
--> return(a0, resultsSentElsewhere)
~~> finish(q0)                                                  # as soon as its results are here
~~> call(q0, importedCap 0, echo("0"))                          # as soon as the caller does it
--> disembargo(importedCap 1, senderLoopback 0)
--> release(1, 1)
~~> return(a0, resultsSentElsewhere)
--> finish(q0)
--> call(q0, importedCap 0, echo("0"))
~~> release(1, 1)                                               # whenever the reference is let go
<-- finish(q0)
<-- disembargo(importedCap 0, receiverLoopback 0)
<~~ finish(q0)                                                  # whenever nobody wants its results
<-- return(a0, results("0"), noFinishNeeded)
<~~ finish(q0)
--> finish(q1)
--> release(0, 1)
<-- release(0, 1)
"""
"""The server answers `later` with a promise, which it resolves to the client's own object when told to.

A Finish is due once nothing more is pipelined on the results (`Finish`: "no further pipelined requests").
Ours is sent as soon as they are here and nothing was; pycapnp keeps results as long as a capability in them.
"""

TAIL = """
--> bootstrap(q0)
--> call(q1, promisedAnswer(q0), tail(senderHosted 0, "1"))
<-- return(a0, results(=senderHosted 0)[, releaseParamCaps])
<-- call(q0, importedCap 0, echo("1"), yourself)
<-- return(a1, takeFromOtherQuestion 0)
<-- release(0, 1)
--> finish(q0)
--> return(a0, resultsSentElsewhere)
--> finish(q1)
<-- finish(q0)
--> release(0, 1)
"""
"""The server answers `tail` with whatever a call of the client's own object will be answered."""

CANCEL = """
--> bootstrap(q0)
--> call(q1, promisedAnswer(q0), hang())
--> call(q2, promisedAnswer(q0), echo("1"))
<-- return(a0, results(=senderHosted 0)[, releaseParamCaps])
<-- return(a2, results("1"), noFinishNeeded)
--> finish(q0)
--> finish(q1, releaseResultCaps)
--> call(q0, importedCap 0, echo("2"))
<-- return(a1, canceled)
<-- return(a0, results("2"), noFinishNeeded)
--> release(0, 1)
"""
"""The client cancels a call that the server would never answer, and has another answered."""

TRACES = {"echo": ECHO, "lazy": LAZY, "tail": TAIL, "cancel": CANCEL}

CLIENT, SERVER = "-->", "<--"
_ELSEWHERE = {"~~>": CLIENT, "<~~": SERVER}
_OPTIONAL = re.compile(r"\[([^]]*)\]")


@attrs.frozen(eq=False)
class Row:
    """One place of a message in a trace."""

    sender: str
    said: str
    """The message as pycapnp sends it."""
    brief: str
    """The same without what may be left out."""
    number: int
    """Which message of the trace it is."""
    elsewhere: bool
    """Whether this is not where pycapnp sends it."""


def rows_of(trace: str) -> list[Row]:
    """Take a trace apart. Another place is of the next message with its text, or else of the one before."""
    lines = [line.partition("#")[0].strip() for line in trace.strip().splitlines()]
    rows = []
    for at, line in enumerate(lines):
        arrow, text = line.split(" ", 1)
        sender = _ELSEWHERE.get(arrow, arrow)
        own = f"{sender} {text}"
        below = [n for n, other in enumerate(lines) if other == own and n >= at]
        above = [n for n, other in enumerate(lines) if other == own and n < at]
        number = below[0] if below else above[-1]
        said, brief = _OPTIONAL.sub(r"\1", text), _OPTIONAL.sub("", text)
        rows.append(Row(sender, said, brief, number, elsewhere=arrow in _ELSEWHERE))
    return rows
