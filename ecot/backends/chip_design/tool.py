"""Icarus Verilog on this machine."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ecot.errors import MissingToolError, ToolError

_SYSTEM_PREFIXES = (Path("/usr/bin"), Path("/bin"))


@dataclass(frozen=True)
class IcarusTool:
    """Where the tool lies and which one it is."""

    iverilog: str
    vvp: str
    version: str
    preprocessor: str
    """The program that `iverilog` pipes into the compiler proper."""
    read_only: tuple[Path, ...]
    """What the sandbox must show besides the system's directories; empty for a packaged tool."""

    @property
    def identity(self) -> str:
        """Changes with the tool: version and content of its binaries."""
        content = hashlib.sha256()
        for path in (self.iverilog, self.vvp, self.preprocessor, str(Path(self.preprocessor).with_name("ivl"))):
            content.update(Path(path).read_bytes())
        return f"{self.version} {content.hexdigest()[:16]}"

    @property
    def preprocessor_wrapper(self) -> bytes:
        """A script that stands in for the preprocessor and lets it end before the compiler starts to read.

        In a pipe both write to standard error at once, and their messages mix differently from run to run.
        """
        return (
            "#!/bin/sh\n"
            f'{self.preprocessor} "$@" >"$TMPDIR/preprocessed"\n'
            "code=$?\n"
            '[ $code -le 128 ] && cat "$TMPDIR/preprocessed"\n'
            "exit $code\n"
        ).encode()


@functools.cache
def find_icarus() -> IcarusTool:
    """Find `iverilog` and `vvp` on the PATH.

    Raises:
        MissingToolError: one of them is missing; the message says how to get it.
        ToolError: the tool does not say its version or its parts.
    """
    found = {}
    for name in ("iverilog", "vvp"):
        path = shutil.which(name)
        if path is None:
            raise MissingToolError(f"{name} is not installed; get Icarus Verilog with `apt install iverilog`")
        found[name] = Path(path).resolve()
    version = output_of([str(found["iverilog"]), "-V"], r"Icarus Verilog version (\S+)")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "empty.sv")
        source.touch()
        # Not /dev/null: the compiler sets the mode of what it writes, and root would change the device's.
        call = [str(found["iverilog"]), "-v", "-o", f"{folder}/empty.vvp", str(source)]
        preprocessor = output_of(call, r"translate: (\S+) ")
    outside = {path.parent.parent for path in found.values() if path.parent not in _SYSTEM_PREFIXES}
    return IcarusTool(str(found["iverilog"]), str(found["vvp"]), version, preprocessor, tuple(sorted(outside)))


def output_of(argv: list[str], pattern: str) -> str:
    """What the pattern's group finds in the output of a command that runs no candidate.

    Raises:
        ToolError: nothing of the kind is there.
    """
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=60)
    match = re.search(pattern, done.stdout + done.stderr)
    if match is None:
        raise ToolError(f"`{' '.join(argv)}` prints nothing like {pattern!r}; is it what its name says?")
    return match[1]
