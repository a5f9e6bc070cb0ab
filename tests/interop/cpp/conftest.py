"""The C++ peer, built from its source, and served.

It needs a compiler and Cap'n Proto's headers (Debian: g++, capnproto, libcapnp-dev, pkg-config). Where
they are absent the tests are skipped, or with CAPENV_REQUIRE_CPP set fail.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capenv.link import UnixAddress

CPP = Path(__file__).parent


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program, built from its source."""
    lacking = [tool for tool in ("capnp", "g++", "pkg-config") if shutil.which(tool) is None]
    if not lacking and subprocess.run(["pkg-config", "--exists", "capnp-rpc"]).returncode:
        lacking = ["the headers of capnp-rpc"]
    if lacking:
        reason = f"the C++ peer cannot be built without {' and '.join(lacking)}"
        if os.environ.get("CAPENV_REQUIRE_CPP"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("cpp")
    built = subprocess.run([str(CPP / "build"), str(folder)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return str(folder / "probe_peer")


@pytest.fixture
def process(peer: str, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """The C++ server."""
    command = [peer, "serve", str(tmp_path / "probe")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield server
        server.kill()


@pytest.fixture
def address(process: "subprocess.Popen[str]", tmp_path: Path) -> UnixAddress:
    return UnixAddress(str(tmp_path / "probe"))
