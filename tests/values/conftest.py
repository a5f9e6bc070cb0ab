"""Puts the tests' shared modules where these tests can import them."""

import sys
from pathlib import Path

for directory in (Path(__file__).parent, Path(__file__).parent.parent):
    sys.path.insert(0, str(directory))
