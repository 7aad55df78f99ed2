"""Runs inside a fork server: become a tool. Standard library alone."""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import Any

NOT_STARTED = 127
"""Exit code where the program cannot be started, as shells have it."""


def execute(arguments: dict[str, Any]) -> int:
    """Replace this process by a program.

    Args:
        arguments: `argv`, `environment`, and what holds for programs but not for this interpreter: `memory_bytes` of
            address space and `stack_bytes`.
    """
    for limit, value in (
        (resource.RLIMIT_AS, arguments["memory_bytes"]),
        (resource.RLIMIT_STACK, arguments["stack_bytes"]),
    ):
        ceiling = resource.getrlimit(limit)[1]
        value = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
        resource.setrlimit(limit, (value, value))
    # The interpreter ignores these, and a program would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    argv = arguments["argv"]
    try:
        os.execve(argv[0], argv, arguments["environment"])
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]}: {error.strerror}\n")
    return NOT_STARTED
