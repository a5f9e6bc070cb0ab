"""The packaged schemas parse, first in processes of their own: pycapnp's loader aborts on a bad one."""

import subprocess
import sys
from pathlib import Path

import pytest

import capenv.schema

DIRECTORY = Path(capenv.schema.__file__).parent
FILES = sorted(path.name for path in DIRECTORY.glob("*.capnp"))
PARSE = """
import sys, capnp
from pathlib import Path
capnp.SchemaParser().load(sys.argv[1], imports=[str(Path(capnp.__file__).parent.parent)])
"""


def parse(path: Path) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([sys.executable, "-c", PARSE, str(path)], capture_output=True, timeout=60)


def test_there_are_schemas() -> None:
    assert FILES == ["host.capnp", "values.capnp"]


@pytest.mark.parametrize("name", FILES)
def test_it_parses(name: str) -> None:
    assert parse(DIRECTORY / name).returncode == 0


def test_a_bad_schema_is_found(tmp_path: Path) -> None:
    text = (DIRECTORY / "values.capnp").read_text()
    (tmp_path / "values.capnp").write_text(text.replace("shape @1", "shape @9", 1))
    assert parse(tmp_path / "values.capnp").returncode != 0


def test_every_interface_has_its_methods_in_python() -> None:
    """A servant leaves out no method of its interface, and spells none of them wrong."""
    from capenv.remote import servants
    from capenv.rpc.interface import python_name

    for servant in (
        servants.GateServant,
        servants.HostServant,
        servants.EnvironmentServant,
        servants.WorldServant,
        servants.SessionServant,
    ):
        for name in servant.interface.methods:
            assert callable(getattr(servant, python_name(name))), f"{servant.__name__}.{name}"
