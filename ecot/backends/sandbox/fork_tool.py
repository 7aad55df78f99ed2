"""Runs inside a fork server: become a tool. Standard library alone."""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import Any

from ecot.backends.sandbox.fork_program import lower_limit

NOT_STARTED = 127
"""Exit code where the program cannot be started, as shells have it."""


def execute(arguments: dict[str, Any]) -> int:
    """Replace this process by a program.

    Args:
        arguments: `argv`, `environment`, and what holds for programs but not for this interpreter: `memory_bytes` of
            address space and `stack_bytes`.
    """
    memory, stack = arguments["memory_bytes"], arguments["stack_bytes"]
    lower_limit(resource.RLIMIT_AS, memory, memory)
    lower_limit(resource.RLIMIT_STACK, stack, stack)
    # The interpreter ignores these, and a program would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    argv = arguments["argv"]
    try:
        os.execve(argv[0], argv, arguments["environment"])
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]}: {error.strerror}\n")
    return NOT_STARTED
