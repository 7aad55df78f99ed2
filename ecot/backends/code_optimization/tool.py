"""The compiler, the binary utilities and valgrind of this machine."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ecot.errors import MissingToolError, ToolError

_PACKAGES = {"gcc": "gcc", "as": "binutils", "ld": "binutils", "ar": "binutils", "nm": "binutils"}
_PACKAGES |= {"objdump": "binutils", "objcopy": "binutils", "valgrind": "valgrind"}
_VERSIONS = {"gcc": r"gcc \(.*\) (\d+\.\S+)", "ld": r"GNU ld .* (\d+\.\S+)", "valgrind": r"valgrind-(\d+\.\S+)"}


@dataclass(frozen=True)
class Toolchain:
    """Where the tools lie and which ones they are."""

    paths: tuple[tuple[str, str], ...]
    """Name to absolute path."""
    versions: tuple[tuple[str, str], ...]

    def path(self, name: str) -> str:
        """Where a tool lies."""
        return dict(self.paths)[name]

    @property
    def identity(self) -> str:
        """Changes with the tools: their versions and the content of their programs."""
        content = hashlib.sha256()
        for _, path in self.paths:
            content.update(Path(path).read_bytes())
        return f"{self.description} {content.hexdigest()[:16]}"

    @property
    def description(self) -> str:
        """Versions, for reports."""
        return ", ".join(f"{name} {version}" for name, version in self.versions)


@functools.cache
def find_toolchain() -> Toolchain:
    """Find the tools on the PATH.

    Raises:
        MissingToolError: one is missing; the message says how to get it.
        ToolError: one does not say its version, or they make code for another machine than x86-64.
    """
    paths = {}
    for name, package in _PACKAGES.items():
        found = shutil.which(name, path="/usr/bin:/bin")
        if found is None:
            raise MissingToolError(f"{name} is not installed in /usr/bin; get it with `apt install {package}`")
        paths[name] = found
    versions = {name: _output([paths[name], "--version"], pattern) for name, pattern in _VERSIONS.items()}
    machine = _output([paths["gcc"], "-dumpmachine"], r"(\S+)")
    if not machine.startswith("x86_64-"):
        raise ToolError(f"gcc makes code for {machine}; this backend needs a machine with x86-64 and its compiler")
    return Toolchain(tuple(paths.items()), tuple(versions.items()))


def _output(argv: list[str], pattern: str) -> str:
    """What the pattern's group finds in a command's output."""
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=60)
    match = re.search(pattern, done.stdout + done.stderr)
    if match is None:
        raise ToolError(f"`{' '.join(argv)}` prints nothing like {pattern!r}")
    return match[1]
