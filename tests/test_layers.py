"""Imports run strictly downward: each module has a rank, and imports only from lower ones."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import capenv
import capenv.schema
import capenv.transports

# From the ground up, as in DESIGN section 2. Within a package the modules have an order too: those on one
# line may not import each other.
ORDER = """
errors
schema link interrupts yielding
url
transports
buffers
values.naming values.reading values.bounds
values.tensors
values.pruning
values.trees values.spaces values.layouts values.leaves
values.members
values.elements
values
rpc.limits rpc.pointers rpc.builder rpc.patterns
rpc.messages
rpc.framing rpc.decoding rpc.tables
rpc.encoding
rpc.capability rpc.drops
rpc.turn rpc.exports rpc.imports rpc.question
rpc.answer rpc.embargoes rpc.outbox
rpc.events rpc.interface rpc.references
rpc.repeats
rpc.answers rpc.servant rpc.streams
rpc.questions
rpc.connection
rpc
responses blocking
stubs repeating vat_repeats
vat_connection
vat
worlds.descriptions worlds.guard
worlds.playing
worlds.session worlds.vector
worlds.world
worlds.environment
worlds.host
worlds
sharing.table
sharing
remote.interfaces remote.outlines remote.told_infos
remote.step_shapes
remote.alike_steps
remote.repeated_steps
remote.descriptions remote.session_messages remote.handshake
remote.vector_messages remote.step_calls remote.blocking_opening
remote.vector_servant
remote.servants remote.blocking_session remote.blocking_vector remote.proxies
remote.server
remote
adapters.batching
adapters.gymnasium adapters.vector
adapters
cli.play cli.info cli.serve
cli.bench cli.demo
cli.app
cli
__init__
__main__
"""
RANKS = {
    f"capenv.{name}".removesuffix(".__init__"): rank
    for rank, line in enumerate(ORDER.strip().splitlines())
    for name in line.split()
}
# `capenv.transports` is one room with doors of its own: only its form matters to the rest.
WITHIN_TRANSPORTS = {"capenv.errors", "capenv.link"}


def modules() -> Iterator[tuple[str, Path]]:
    for package, root in (
        ("capenv.schema", capenv.schema.__path__[0]),
        ("capenv.transports", capenv.transports.__path__[0]),
        ("capenv", capenv.__path__[0]),
    ):
        for path in Path(root).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            if package != "capenv" or parts[0] not in ("schema", "transports"):
                yield name, path


MODULES = dict(modules())


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports when it is imported, and those within its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, f"{path}: a relative import"
                assert module is not None
                for name in names:
                    full = f"{module}.{name.name}"
                    yield full if full in MODULES else module


def rank(module: str) -> int:
    name = "capenv.transports" if module.startswith("capenv.transports") else module
    return RANKS[name]


def violations(module: str, path: Path) -> list[str]:
    found = []
    typing_only = {f"capenv.rpc.{name}" for name in ("answer", "events", "question", "turn")}
    for target in imports(path):
        if not target.startswith("capenv"):
            continue
        if module.startswith("capenv.transports"):
            if target not in WITHIN_TRANSPORTS and not target.startswith("capenv.transports"):
                found.append(f"{module} imports {target}")
        elif rank(target) >= rank(module) and not _typing_only(path, target, typing_only):
            found.append(f"{module} imports {target}")
    return found


def _typing_only(path: Path, target: str, allowed: set[str]) -> bool:
    """Whether the import is there for the type checker alone: entries of two tables may name each other."""
    if target not in allowed:
        return False
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            inner = {n.module for n in ast.walk(node) if isinstance(n, ast.ImportFrom)}
            if target in inner:
                return True
    return False


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_downward(module: str) -> None:
    assert violations(module, MODULES[module]) == []


def test_every_module_has_a_rank() -> None:
    missing = [m for m in MODULES if not m.startswith("capenv.transports.") and m not in RANKS]
    assert missing == []


def test_every_rank_has_a_module() -> None:
    for name in RANKS:
        importlib.import_module(name)


def test_an_upward_import_is_found(tmp_path: Path) -> None:
    path = tmp_path / "errors.py"
    path.write_text("def late():\n    from capenv.rpc.connection import Connection\n")
    assert violations("capenv.errors", path) == ["capenv.errors imports capenv.rpc.connection"]


def test_asyncio_is_nowhere() -> None:
    for module, path in MODULES.items():
        assert "asyncio" not in set(imports(path)), module


def test_only_the_schema_loads_schemas() -> None:
    for module, path in MODULES.items():
        if module != "capenv.schema":
            assert "SchemaParser" not in path.read_text(), module
            assert "capnp.load" not in path.read_text(), module
