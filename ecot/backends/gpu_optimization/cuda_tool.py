"""nvcc and g++ on this machine."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from ecot.errors import MissingToolError, ToolError


@dataclass(frozen=True)
class CudaTools:
    """Where the compilers lie and which ones they are."""

    nvcc: Path
    toolkit: Path
    """The folder above `bin/nvcc`, to be shown in the sandbox."""
    gxx: Path
    identity: str
    """Changes with either version."""


@functools.cache
def find_cuda_tools() -> CudaTools:
    """Find nvcc (the package `nvidia-cuda-nvcc` of this environment, the PATH, `/usr/local/cuda`) and g++.

    Raises:
        MissingToolError: one of them is missing; the message says how to get it.
        ToolError: nvcc does not say where its parts lie.
    """
    packaged = sorted(Path(sysconfig.get_path("purelib"), "nvidia").glob("cu*/bin/nvcc"))
    on_path = shutil.which("nvcc")
    found = [*packaged, *([Path(on_path)] if on_path else []), Path("/usr/local/cuda/bin/nvcc")]
    nvcc = next((path for path in found if path.is_file()), None)
    if nvcc is None:
        raise MissingToolError(
            "nvcc is not installed; get it with `pip install nvidia-cuda-nvcc nvidia-cuda-runtime`, or NVIDIA's toolkit"
        )
    gxx = shutil.which("g++")
    if gxx is None:
        raise MissingToolError("g++ is not installed; get it with `apt install g++`")
    toolkit = _toolkit(nvcc)
    versions = [_last_line([str(tool), "--version"]) for tool in (toolkit / "bin" / "nvcc", gxx)]
    identity = hashlib.sha256("\0".join(versions).encode()).hexdigest()
    return CudaTools(toolkit / "bin" / "nvcc", toolkit, Path(gxx).resolve(), identity)


def _toolkit(nvcc: Path) -> Path:
    """The program on the PATH may be a script or a link; the compiler itself knows where it lies."""
    done = subprocess.run([nvcc, "--dryrun", "x.cu"], capture_output=True, text=True, timeout=60, cwd="/")
    match = re.search(r"^#\$ _HERE_=(.+)$", done.stderr, re.MULTILINE)
    if match is None:
        raise ToolError(f"`{nvcc} --dryrun` does not say where the compiler lies; is it NVIDIA's?")
    return Path(match[1].strip()).resolve().parent


def _last_line(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    return done.stdout.strip().replace("\n", " ")
