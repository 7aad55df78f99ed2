"""The only place that starts processes with candidate code: a sandbox, or a refusal."""

from ecot.backends.sandbox.bubblewrap import WORK_DIR
from ecot.backends.sandbox.command import Limits, SandboxCommand, SandboxResult
from ecot.backends.sandbox.sandbox import Sandbox, find_sandbox

__all__ = ["WORK_DIR", "Limits", "Sandbox", "SandboxCommand", "SandboxResult", "find_sandbox"]
