"""What fork servers are, what they are asked, and what comes of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecot.backends.sandbox.command import MEBIBYTE, Limits, SandboxResult, check_file_name

_PROGRAM_MODULES = tuple(f"ecot.backends.sandbox.fork_{part}" for part in ("wire", "files", "pages", "program"))


@dataclass(frozen=True)
class ForkServerSpec:
    """What the servers of a pool are."""

    modules: tuple[str, ...]
    """Dotted names of modules of this package, imported once, in this order, before the first request. They may import
    installed packages and one another, but nothing else of this package: the sandbox shows no more of it."""
    scratch_bytes: int = 64 * MEBIBYTE
    """The private file system in memory that the requests use in turn."""
    folder: str = "work"
    """Working directory of a request, below the sandbox's; empty for that itself."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the otherwise empty environment."""
    read_only: tuple[Path, ...] = ()
    """Further host paths to show."""
    devices: tuple[Path, ...] = ()
    """Device files to show, for reading and writing; whatever they reach can be reached by a candidate."""
    process_files: bool = False
    """Whether there is a read-only `/proc` of the sandbox's own processes; some drivers need one."""
    memory_bytes: int | None = 4096 * MEBIBYTE
    """Memory in use of a server with all its children, where control groups can be made; None: what the request has."""
    start_seconds: float = 300.0
    """How long the imports may take."""

    def source(self) -> bytes:
        """The server's and the modules' code, for fingerprints."""
        return b"\0".join(self.program_files().values())

    def program_files(self) -> dict[str, bytes]:
        """The packages and modules that a server imports from this package, as files of a folder to import from."""
        files = {}
        for name in (*_PROGRAM_MODULES, *self.modules):
            parts = name.split(".")
            for depth in range(1, len(parts)):
                files["/".join([*parts[:depth], "__init__.py"])] = b""
            files["/".join(parts) + ".py"] = _module_source(name)
        return files


@dataclass(frozen=True)
class ForkCommand:
    """One request: a function of one of the server's modules, called in a child of its own."""

    entry: str
    """`module:function`. It takes `arguments`, and returns None or an exit code."""
    arguments: Any = None
    """Anything that JSON can hold. No secrets: later children of the server might find them in memory."""
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    """File name to content, laid into the fresh working directory; no trace of it is left afterwards."""
    outputs: tuple[str, ...] = ()
    """Files of the working directory to bring out."""
    limits: Limits = field(default_factory=Limits)
    """`memory_bytes` comes on top of what the server itself maps; the server's `scratch_bytes` holds as well."""
    stop_on_flood: bool = True
    """End the request as soon as it has printed more than `limits.output_bytes`; otherwise read on and discard."""

    def __post_init__(self) -> None:
        for name in (*self.inputs, *self.outputs):
            check_file_name(name)


@dataclass(frozen=True)
class ForkResult(SandboxResult):
    """How a request ended. `seconds` does not hold the start of a server."""

    cpu_seconds: float = 0.0
    """Processor time of the child."""
    server_lost: bool = False
    """The server was killed or stopped while it ran the request: nothing but the request itself can do that."""
    idle: bool = False
    """The deadline passed, and in the second half of its time the child had used next to no processor time: it waited
    for something that never came, which is its own doing. A busy machine slows a process down, but not that much.
    Processes that the child started are not looked at."""


def _module_source(name: str) -> bytes:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ValueError(f"fork server module {name!r} cannot be found")
    return Path(found.origin).read_bytes()
