"""CadQuery and its kernel on this machine."""

from __future__ import annotations

import functools
import importlib.metadata

from ecot.errors import MissingToolError

_PACKAGES = ("cadquery", "cadquery-ocp", "numpy")


@functools.cache
def cadquery_identity() -> str:
    """Versions of everything that decides a shape; nothing is imported here, which would take seconds.

    Raises:
        MissingToolError: CadQuery is not installed; the message says how to get it.
    """
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            raise MissingToolError(f"{name} is not installed; get CadQuery with `pip install 'ecot[cad]'`") from None
    return ", ".join(found)
