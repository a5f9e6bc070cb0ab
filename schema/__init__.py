"""The packaged Cap'n Proto schemas, parsed once.

This is the only place that calls pycapnp's loader: a schema that does not parse would abort the
process (`capnp.load` cannot raise), so nothing but the files shipped beside this module is loaded,
and a test parses them in a process of its own first.
"""

from pathlib import Path
from typing import Any

import capnp

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

__all__ = ["host", "values"]
