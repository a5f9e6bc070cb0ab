"""The packaged Cap'n Proto schemas, parsed once.

This is the only place that calls pycapnp's loader: a schema that does not parse would abort the
process (`capnp.load` cannot raise). The files shipped beside this module are parsed by a test in a process
of its own; those of a user by `load`, each time.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import capnp

from capenv.errors import SchemaError

_DIRECTORY = Path(__file__).parent
# A parser of our own: one parser may not hold two files of the same id, and pycapnp's own import
# hook shares a global one with every other library in the process.
_PARSER = capnp.SchemaParser()
_IMPORTS = [str(Path(capnp.__file__).parent.parent)]


def _load(name: str) -> Any:
    return _PARSER.load(str(_DIRECTORY / name), imports=_IMPORTS)


values: Any = _load("values.capnp")
"""Tensors, values, spaces, layouts and elements (`values.capnp`)."""

host: Any = _load("host.capnp")
"""The interfaces that peers offer each other (`host.capnp`)."""

_PARSE = """
import sys, capnp
capnp.SchemaParser().load(sys.argv[1], imports=sys.argv[2:])
"""
_SECONDS = 60.0


def load(path: str | Path, imports: Sequence[str | Path] = ()) -> Any:
    """Return a schema of your own as pycapnp's module of it, with its structs and interfaces as attributes.

    It may import `/host.capnp`, whose interfaces are the very ones that capenv speaks.
    It is parsed in another process first, since pycapnp ends its process over one that does not parse.

    Args:
        path: the file.
        imports: folders in which what it imports by an absolute path is looked for.

    Raises:
        SchemaError: it does not parse, or is not there.
    """
    folders = [*map(str, imports), str(_DIRECTORY), *_IMPORTS]
    command = [sys.executable, "-c", _PARSE, str(path), *folders]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if tried.returncode:
        said = [
            line for line in tried.stderr.splitlines() if "failed: " in line or "Error: " in line
        ]
        why = re.split(r"failed: |Error: ", said[-1])[1] if said else "pycapnp ended over it"
        line = re.search(r":(\d+): failed: ", said[-1]) if said else None
        place = f"{path}, line {int(line[1]) + 1}" if line else str(path)
        raise SchemaError(f"{place}: {why}")
    return capnp.SchemaParser().load(str(path), imports=folders)


__all__ = ["host", "load", "values"]
