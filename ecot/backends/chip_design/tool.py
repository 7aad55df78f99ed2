"""Icarus Verilog on this machine."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import subprocess
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
    read_only: tuple[Path, ...]
    """What the sandbox must show besides the system's directories; empty for a packaged tool."""

    @property
    def identity(self) -> str:
        """Changes with the tool: version and content of its binaries."""
        content = hashlib.sha256()
        for path in (self.iverilog, self.vvp):
            content.update(Path(path).read_bytes())
        return f"{self.version} {content.hexdigest()[:16]}"


@functools.cache
def find_icarus() -> IcarusTool:
    """Find `iverilog` and `vvp` on the PATH.

    Raises:
        MissingToolError: one of them is missing; the message says how to get it.
        ToolError: the tool does not say its version.
    """
    found = {}
    for name in ("iverilog", "vvp"):
        path = shutil.which(name)
        if path is None:
            raise MissingToolError(f"{name} is not installed; get Icarus Verilog with `apt install iverilog`")
        found[name] = Path(path).resolve()
    text = subprocess.run(
        [found["iverilog"], "-V"], capture_output=True, text=True, errors="replace", timeout=60
    ).stdout
    match = re.search(r"Icarus Verilog version (\S+)", text)
    if match is None:
        raise ToolError(f"`{found['iverilog']} -V` names no version; is it Icarus Verilog?")
    outside = {path.parent.parent for path in found.values() if path.parent not in _SYSTEM_PREFIXES}
    return IcarusTool(str(found["iverilog"]), str(found["vvp"]), match[1], tuple(sorted(outside)))
