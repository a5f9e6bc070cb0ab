"""What of pycapnp the library must not call: it would let a peer's message abort the process, or lose memory.

An abort comes from C++ and cannot be caught. What can be told by its full name (`capnp.load`,
`capnp.run`) is banned in pyproject.toml, for Ruff; this finds methods, which have no such name. A static
rule cannot know what a variable holds: `repr`, `!r`, copies and pickles are found where a name says that it
is a reader, or the module is imported, and not where a reader goes by another name, or into `%r`, a
dataclass's repr or a traceback that shows locals.
"""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import capnp
import pytest

import capenv
import capenv.schema
import capenv.transports

READERS = {"reader", "params", "results"}
"""What readers are called in this library."""


@attrs.frozen
class Ban:
    """Something that must not be written."""

    name: str
    reason: str
    found: Callable[[ast.AST], bool]
    snippet: str
    """What the ban must find."""
    harmless: str = ""
    """What it must leave alone."""


def attribute(name: str) -> Callable[[ast.AST], bool]:
    """Return what finds any use of a method or property of that name."""
    return lambda node: isinstance(node, ast.Attribute) and node.attr == name


def imported(module: str) -> Callable[[ast.AST], bool]:
    """Return what finds an import of a module, or from it."""

    def found(node: ast.AST) -> bool:
        match node:
            case ast.Import(names=names):
                return any(name.name == module for name in names)
            case ast.ImportFrom(module=source):
                return source == module
            case _:
                return False

    return found


def shown(node: ast.AST) -> bool:
    """Whether something that is called like a reader goes through `repr`."""
    match node:
        case ast.Call(func=ast.Name(id="repr" | "ascii"), args=[value]):
            pass
        case ast.FormattedValue(value=value, conversion=conversion) if conversion in map(ord, "ra"):
            pass
        case _:
            return False
    parts = list(ast.walk(value))
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    return bool(READERS & (names | {p.attr for p in parts if isinstance(p, ast.Attribute)}))


def read_in_place(node: ast.AST) -> bool:
    """Whether `from_bytes` is that of a message."""
    match node:
        case ast.Attribute(attr="from_bytes", value=ast.Name(id="int")):
            return False
        case _:
            return attribute("from_bytes")(node)


def not_kept(node: ast.AST) -> bool:
    """Whether something is taken out of a file's module that nobody keeps."""
    match node:
        case ast.Attribute(value=ast.Call(func=ast.Attribute(attr="load"))):
            return True
        case _:
            return False


def answered_elsewhere(node: ast.AST) -> bool:
    """Whether `tail_call` is that of a context of pycapnp's servers; capenv's own requests have one too."""
    match node:
        case ast.Attribute(
            attr="tail_call", value=ast.Name(id=holder) | ast.Attribute(attr=holder)
        ):
            return holder.endswith("context")
        case _:
            return False


BANS = [
    Ban(
        "repr of a reader",
        "aborts on a malformed message, and on one that holds capabilities; str raises instead",
        shown,
        "text = f'cannot read {request.params!r}'",
        "text = f'cannot read {name!r}'",
    ),
    Ban("repr of a list", "as of a reader", shown, "repr(reader.children)", "repr(children)"),
    Ban("as_builder", "aborts, as repr does", attribute("as_builder"), "reader.as_builder()"),
    Ban("total_size", "aborts, as repr does", attribute("total_size"), "reader.total_size"),
    Ban("copy", "to copy a reader aborts, as repr does", imported("copy"), "import copy"),
    Ban("pickle", "as of a copy", imported("pickle"), "from pickle import dumps"),
    Ban(
        "from_bytes",
        "with builder=True it aborts, and without it readers outlive their memory",
        read_in_place,
        "Message.from_bytes(data, builder=True)",
        "int.from_bytes(data, 'little')",
    ),
    Ban(
        "tail_call",
        "aborts",
        answered_elsewhere,
        "await _context.tail_call(request)",
        "request.tail_call(target, method, content)",
    ),
    Ban(
        "get_data_as_view",
        "leaks the whole message at every call, and raises on empty data",
        attribute("get_data_as_view"),
        "reader.get_data_as_view('data')",
    ),
    Ban(
        "to_segment_views",
        "is not there in pycapnp 2.2",
        attribute("to_segment_views"),
        "builder.to_segment_views()",
    ),
    Ban(
        "load that is not kept",
        "a schema is used after free once its file's module is gone: keep what load returns",
        not_kept,
        "PROBE = parser.load('probe.capnp').Probe",
        "probe = parser.load('probe.capnp')",
    ),
]


def files() -> Iterator[Path]:
    for package in (capenv, capenv.schema, capenv.transports):
        yield from Path(package.__path__[0]).rglob("*.py")


def violations(source: str, ban: Ban) -> list[int]:
    """Return the lines on which something banned stands."""
    found = filter(ban.found, ast.walk(ast.parse(source)))
    return [getattr(node, "lineno", 0) for node in found]


@pytest.mark.parametrize("ban", BANS, ids=lambda ban: ban.name)
def test_the_library_does_without(ban: Ban) -> None:
    found = [f"{path}:{line}" for path in files() for line in violations(path.read_text(), ban)]
    assert not found, f"{ban.name}: {ban.reason}"


@pytest.mark.parametrize("ban", BANS, ids=lambda ban: ban.name)
def test_the_ban_is_enforced(ban: Ban) -> None:
    assert violations(ban.snippet, ban)
    assert not violations(ban.harmless, ban)


SPOILT = """
import copy, pickle, resource, struct, sys
from pathlib import Path
import capnp

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
site_packages = str(Path(capnp.__file__).parent.parent)
values = capnp.SchemaParser().load(sys.argv[1], imports=[site_packages])
segment = struct.pack("<3Q", 2 << 48, 5 << 48 | 1 << 34, 1 << 50)  # a struct of pointers out of bounds
reader = values.Tensor.from_segments([segment])
framed = struct.pack("<II", 0, 3) + segment
try:
    exec(sys.argv[2])
except capnp.KjException:
    print("raised")
"""


@pytest.mark.skipif(
    capnp.__version__ != "2.2.4", reason="see whether this pycapnp needs the bans still"
)
@pytest.mark.parametrize(
    "what",
    [
        "repr(reader)",
        "reader.as_builder()",
        "reader.total_size",
        "copy.copy(reader)",
        "pickle.dumps(reader)",
        "values.Tensor.from_bytes(framed, builder=True).__enter__()",
        pytest.param("str(reader)", id="str(reader), which is allowed"),
    ],
)
def test_the_reason_is_true(what: str) -> None:
    schema = Path(capenv.schema.__file__).parent / "values.capnp"
    ended = subprocess.run(
        [sys.executable, "-c", SPOILT, str(schema), what], capture_output=True, timeout=60
    )
    if what == "str(reader)":
        assert ended.stdout == b"raised\n"
    else:
        assert ended.returncode < 0, ended.stderr
