"""The second choice: a sandbox from the kernel's namespaces alone, made by a small program in Python's own words."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from ecot.backends.sandbox.namespace_program import Specification

_SYSTEM_PYTHON = "/usr/bin/python3"


def interpreters() -> list[str]:
    """Pythons that may run the program: ours, and the system's, which an unprivileged user can reach as well."""
    found = [str(Path(sys.executable).resolve()), _SYSTEM_PYTHON]
    return [path for path in dict.fromkeys(found) if Path(path).is_file()]


def namespace_argv(
    interpreter: str,
    command: Sequence[str],
    binds: Sequence[str],
    scratch: str,
    scratch_bytes: int,
    inputs: Mapping[str, int],
    status_fd: int,
    environment: Mapping[str, str],
    process_files: bool,
) -> list[str]:
    """The command line that runs `command` in a sandbox; the arguments are those of `Specification`."""
    specification = Specification(
        binds=list(binds),
        scratch=scratch,
        scratch_bytes=scratch_bytes,
        inputs=dict(inputs),
        environment=dict(environment),
        process_files=process_files,
        status_fd=status_fd,
        command=list(command),
    )
    # As text: the package may lie where the unprivileged user of the sandbox cannot read.
    program = resources.files("ecot.backends.sandbox").joinpath("namespace_program.py").read_text("utf-8")
    return [interpreter, "-I", "-S", "-c", program, json.dumps(specification)]
