"""Serves the named environments from another process."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

# Before pygame is imported, here and in the server: there is no screen.
os.environ["SDL_VIDEODRIVER"] = os.environ["SDL_AUDIODRIVER"] = "dummy"
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"

from faithful_names import NAMES


@pytest.fixture(scope="session")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the URLs of the named environments, served from another process."""
    file = tmp_path_factory.mktemp("served") / "urls"
    command = [sys.executable, "-m", "capenv", "serve", *NAMES, "--url-file", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            # It prints the lines once it answers.
            lines = [server.stdout.readline() for _ in NAMES]
            assert file.read_text() == "".join(lines)
            yield dict(line.rstrip("\n").split("\t") for line in lines)
        finally:
            server.terminate()
            server.wait(30)
