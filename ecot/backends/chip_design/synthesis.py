"""Yosys: whether a design can be built in hardware, and how large and deep it becomes.

Only a candidate that passed its simulation is synthesised. It is judged by what its task's reference can do: where the
reference itself holds latches or loops, or Yosys cannot read it, the task does not ask for more.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ecot.backends.chip_design.harness import CANDIDATE_FILE
from ecot.backends.chip_design.settings import ChipDesignSettings
from ecot.backends.chip_design.tool import output_of
from ecot.backends.sandbox import CommandRunner, SandboxCommand, SandboxResult, tool_limits
from ecot.errors import MissingToolError
from ecot.outcomes import Label
from ecot.tasks.bundle import Task

# `check` looks before optimisation, which would cut some loops open, and after flattening, for loops through modules.
_SCRIPT = (
    "read_verilog -sv {file}; hierarchy -check -top {entry}; tee -q -o proc.txt proc; flatten; "
    "tee -q -o check.txt check; synth -top {entry}; tee -q -o cells.json stat -json; tee -q -o path.txt ltp -noff"
)
_OUTPUTS = ("proc.txt", "check.txt", "cells.json", "path.txt")

_LATCH = re.compile(r"(?<!No )\b[Ll]atch inferred for signal `?\\?([^\s'`]+)'? from (?:process|always_comb)")
_LOOP_WIRE = re.compile(r"^\s+wire \\(\S+)", re.MULTILINE)
_PATH = re.compile(r"\(length=(\d+)\)")
_ERROR = re.compile(r"ERROR: (.*)")
_SHARE = Path("/usr/share/yosys")
_FLIP_FLOPS = re.compile(r"\$_\w*DFF\w*_")


@dataclass(frozen=True)
class SynthesisTool:
    """Yosys on this machine."""

    program: str
    version: str

    @property
    def identity(self) -> str:
        """Changes with the tool."""
        content = hashlib.sha256(Path(self.program).read_bytes()).hexdigest()
        return f"{self.version} {content[:16]} {_SCRIPT}"


@dataclass(frozen=True)
class SynthesisReport:
    """What came of a synthesis."""

    latches: tuple[str, ...] = ()
    """Signals that became latches."""
    loops: tuple[str, ...] = ()
    """Named wires of combinational loops."""
    has_loop: bool = False
    problem: str = ""
    """Why Yosys gave no netlist."""
    metrics: Mapping[str, float] | None = None
    """`cells`, `flip_flops`, `longest_path` (gates); None without a netlist."""

    @property
    def clean(self) -> bool:
        """Whether there is a netlist without latches and loops."""
        return self.metrics is not None and not self.latches and not self.has_loop

    def verdict(self) -> tuple[Label, str, str] | None:
        """Label, subcode and diagnostic of what may not be; None if there is nothing to object to."""
        if self.latches:
            names = ", ".join(repr(name) for name in self.latches)
            text = f"{CANDIDATE_FILE}: synthesis: latch inferred for {names}: not every path assigns a value\n"
            return Label.SYNTHESIS_ERROR, "latch", text
        if self.has_loop:
            through = f" through {', '.join(self.loops)}" if self.loops else ""
            return Label.SYNTHESIS_ERROR, "comb_loop", f"{CANDIDATE_FILE}: synthesis: combinational loop{through}\n"
        return None


def find_yosys() -> SynthesisTool:
    """Find Yosys on the PATH.

    Raises:
        MissingToolError: it is missing; the message says how to get it.
    """
    program = shutil.which("yosys")
    if program is None:
        raise MissingToolError(
            "yosys is not installed; get it with `apt install yosys`, or switch the backend's option `synthesis` off"
        )
    return SynthesisTool(str(Path(program).resolve()), output_of([program, "-V"], r"(Yosys \S+)"))


def yosys_folders() -> tuple[Path, ...]:
    """What a sandbox must show besides the system's directories."""
    return (_SHARE,) if _SHARE.is_dir() else ()


async def synthesise(
    runner: CommandRunner, tool: SynthesisTool, task: Task, code: str, settings: ChipDesignSettings
) -> SynthesisReport:
    """Synthesise a design to simple gates, with its default parameters."""
    files = {name: text.encode() for name, text in task.environment.items()}
    files[CANDIDATE_FILE] = code.encode("utf-8", "replace")
    result = await runner.run(
        SandboxCommand(
            argv=(tool.program, "-q", "-p", _SCRIPT.format(file=CANDIDATE_FILE, entry=task.entry)),
            inputs=files,
            outputs=_OUTPUTS,
            limits=tool_limits(settings.synthesis_seconds, settings.memory_mib),
            read_only=yosys_folders(),
            process_files=True,  # it finds its own files by /proc/self/exe
            stop_on_flood=False,
        )
    )
    return read_report(result, task.entry)


def read_report(result: SandboxResult, entry: str) -> SynthesisReport:
    """Latches, loops and sizes from what Yosys wrote; a run that ended early still tells of the latches it met."""
    texts = {name: content.decode("utf-8", "replace") for name, content in result.outputs.items()}
    said = result.stderr.decode("utf-8", "replace")
    latches = [_without_module(name, entry) for name in _LATCH.findall(texts.get("proc.txt", "") + said)]
    check = texts.get("check.txt", "")
    problem, metrics = "", None
    if result.exit_code == 0:
        metrics = _metrics(json.loads(texts["cells.json"])["design"], texts["path.txt"])
    elif result.timed_out:
        problem = "out of time"
    else:
        problem = next(iter(_ERROR.findall(said)), "Yosys ended early")
    return SynthesisReport(
        latches=tuple(dict.fromkeys(latches)),
        loops=tuple(sorted(set(_LOOP_WIRE.findall(check)))),
        has_loop="found logic loop" in check,
        problem=problem,
        metrics=metrics,
    )


def _without_module(name: str, entry: str) -> str:
    r"""`\top.\signal` as the source writes it."""
    return name.replace("\\", "").removeprefix(f"{entry}.")


def _metrics(design: Mapping[str, Mapping[str, int] | int], path: str) -> dict[str, float]:
    by_type = design["num_cells_by_type"]
    assert isinstance(by_type, Mapping)
    length = _PATH.search(path)
    return {
        "cells": float(sum(by_type.values())),
        "flip_flops": float(sum(count for name, count in by_type.items() if _FLIP_FLOPS.fullmatch(name))),
        "longest_path": float(length[1]) if length else 0.0,
    }
