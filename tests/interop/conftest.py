"""The peers of the probes, each a process or a socket that a test is given."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycapnp_peers import PYCAPNP, Served, running

from capenv.blocking import BlockingConnection
from capenv.link import UnixAddress
from capenv.transports import connect_blocking


@pytest.fixture
def process(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A server of pycapnp's own RPC."""
    with running(PYCAPNP, "serve", str(tmp_path / "probe"), says="ready") as server:
        yield server


@pytest.fixture
def address(process: "subprocess.Popen[str]", tmp_path: Path) -> UnixAddress:
    """Where that server listens."""
    return UnixAddress(str(tmp_path / "probe"))


@pytest.fixture
def blocking(address: UnixAddress) -> Iterator[BlockingConnection]:
    """A blocking connection to that server."""
    connection = BlockingConnection(connect_blocking(address))
    yield connection
    connection.close()
    assert connection.core.idle


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """A probe of ours, to be served to a caller of pycapnp's own RPC."""
    return Served(str(tmp_path / "probe"))
