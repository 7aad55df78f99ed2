"""Runs inside a fork server, first: import CadQuery without the rest of VTK, three quarters of its shared libraries.

OCP imports the package `vtk` for its viewer, which nothing here opens. Every fork would copy the mappings of its 130
modules. CadQuery's own imports of single modules are left alone, and a script may still import `vtk`: it is not hidden,
only not loaded yet.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _NotYet(ModuleType):
    """Stands for a module while others are imported, and loads it for who wants something of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


_stand_in = _NotYet("vtk")
sys.modules.setdefault("vtk", _stand_in)
importlib.import_module("cadquery")
if sys.modules.get("vtk") is _stand_in:
    del sys.modules["vtk"]
