"""The ARM compiler on this machine."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ecot.errors import MissingToolError, ToolError

SYSTEM_PREFIXES = (Path("/usr/bin"), Path("/bin"))
_DEBIAN_HEADERS = Path("/usr/include/newlib")

COMPILE_FLAGS = (
    "-mcpu=cortex-m4",
    "-mthumb",
    "-mfloat-abi=hard",
    "-mfpu=fpv4-sp-d16",
    "-std=gnu11",
    "-O2",
    "-ffreestanding",
    "-fno-common",
    "-ffunction-sections",
    "-fdata-sections",
    "-Wall",
    "-Wextra",
    "-Werror=implicit-function-declaration",
    "-Werror=int-conversion",
    "-Werror=incompatible-pointer-types",
    "-Werror=return-type",
    "-fdiagnostics-color=never",
    "-fmax-errors=20",
)
LINK_FLAGS = (
    "--specs=nano.specs",
    "-nostartfiles",
    "-Wl,--gc-sections",
    "-Wl,--print-memory-usage",
    "-Wl,--no-warn-rwx-segments",
    "-Wl,--orphan-handling=error",
    "-lm",
)


@dataclass(frozen=True)
class ArmToolchain:
    """Where the compiler lies and which one it is."""

    gcc: str
    version: str
    read_only: tuple[Path, ...]
    """What the sandbox must show besides the system's directories; empty for a packaged tool."""

    @property
    def identity(self) -> str:
        """Changes with the tool and the flags."""
        content = hashlib.sha256(Path(self.gcc).read_bytes()).hexdigest()[:16]
        return " ".join([self.version, content, *COMPILE_FLAGS, *LINK_FLAGS])


@functools.cache
def find_toolchain() -> ArmToolchain:
    """Find `arm-none-eabi-gcc` with its C library on the PATH.

    Raises:
        MissingToolError: it is missing, or the library is; the message says how to get it.
        ToolError: the tool does not say its version.
    """
    found = shutil.which("arm-none-eabi-gcc")
    if found is None:
        raise MissingToolError("arm-none-eabi-gcc is not installed; get it with `apt install gcc-arm-none-eabi`")
    path = Path(found).resolve()
    version = _output([str(path), "--version"])
    match = re.search(r"\d+\.\d+\.\d+", version)
    if match is None or "arm-none-eabi" not in version:
        raise ToolError(f"`{path} --version` prints {version[:80]!r}; is it GCC for ARM?")
    specs = Path(os.path.normpath(_output([str(path), "-print-file-name=nano.specs"]).strip()))
    if not specs.is_file():
        raise MissingToolError(
            "newlib for arm-none-eabi is not installed; get it with `apt install libnewlib-arm-none-eabi`"
        )
    outside = [] if path.parent in SYSTEM_PREFIXES else [path.parent.parent]
    # Debian reaches library and headers through /etc/alternatives, which the sandbox does not show.
    outside += [
        Path(os.readlink(link)) for link in (specs.parent, specs.parent.with_name("include")) if link.is_symlink()
    ]
    outside += [_DEBIAN_HEADERS] if _DEBIAN_HEADERS.is_dir() else []
    return ArmToolchain(str(path), match[0], tuple(outside))


def _output(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=60).stdout
