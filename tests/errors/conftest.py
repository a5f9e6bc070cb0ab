"""Hosts for the tests to trouble."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from errors_process import HostProcess


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    """One troubled host for all tests of a file: none may leave it unfit for the next."""
    with HostProcess(tmp_path_factory.mktemp("host")) as process:
        yield process


@pytest.fixture
def own_host(tmp_path: Path) -> Iterator[HostProcess]:
    """A troubled host of one test's own, to be killed as it likes."""
    with HostProcess(tmp_path) as process:
        yield process
