"""The only place that starts processes with candidate code: a sandbox, or a refusal."""

from ecot.backends.sandbox.bubblewrap import WORK_DIR
from ecot.backends.sandbox.command import Limits, SandboxCommand, SandboxResult, tool_limits
from ecot.backends.sandbox.sandbox import Sandbox, find_sandbox
from ecot.backends.sandbox.tool_pool import CommandRunner, ToolPool

__all__ = [
    "WORK_DIR",
    "CommandRunner",
    "Limits",
    "Sandbox",
    "SandboxCommand",
    "SandboxResult",
    "ToolPool",
    "find_sandbox",
    "tool_limits",
]
