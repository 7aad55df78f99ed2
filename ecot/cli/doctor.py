"""`ecot doctor`: what works on this machine, and how to get what does not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from ecot.cli.options import AsJson, console, print_json


@dataclass(frozen=True)
class Tool:
    """A program that some part of the system calls."""

    command: str
    version: tuple[str, ...]
    """Arguments that make it print its version."""
    used_for: str
    needed: bool
    """Whether the main job cannot run without it."""
    remedy: str


TOOLS = (
    Tool("iverilog", ("-V",), "RTL: compile and elaborate", True, "apt-get install iverilog"),
    Tool("vvp", ("-V",), "RTL: simulate", True, "apt-get install iverilog"),
    Tool("verilator_bin", ("--version",), "RTL: lint", True, "apt-get install verilator"),
    Tool("yosys", ("-V",), "RTL: synthesis", True, "apt-get install yosys"),
    Tool("bwrap", ("--version",), "sandbox of every candidate, first choice", False, "apt-get install bubblewrap"),
    Tool("sbatch", ("--version",), "submit slurm/ scripts", False, "use a Slurm login node"),
    Tool("nvidia-smi", ("--query-gpu=name,driver_version", "--format=csv,noheader"), "GPUs", False, "a CUDA machine"),
)
"""Programs, in the order in which a run meets them."""

PACKAGES: tuple[tuple[str, str, bool], ...] = (
    ("torch", "training", True),
    ("transformers", "models, tokenizers", True),
    ("trl", "the trainer that is extended", True),
    ("deepspeed", "ZeRO-3", True),
    ("accelerate", "joins the two", True),
    ("datasets", "storage", True),
    ("tokenizers", "tokenizer training", True),
    ("tree-sitter-systemverilog", "fault operators", True),
    ("wandb", "tracking", True),
    ("liger-kernel", "peer in loss comparisons", False),
    ("triton", "GPU kernels", False),
    ("flash-attn", "another attention on GPUs", False),
)
"""Distribution, what for, and whether the main job needs it."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    version: str
    """Empty when it is missing."""
    used_for: str
    needed: bool
    remedy: str
    problem: str = ""
    """Why it does not work although it is there."""

    @property
    def works(self) -> bool:
        """Whether it is there and usable."""
        return bool(self.version) and not self.problem


def doctor(as_json: AsJson = False) -> None:
    """List every tool and package with its version, what it is for, and how to get what is missing."""
    findings = [*(_tool(tool) for tool in TOOLS), _sandbox(), *(_package(*entry) for entry in PACKAGES), _attention()]
    machine = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "interpreter": sys.executable,
    }
    ready = all(finding.works for finding in findings if finding.needed)
    if as_json:
        print_json({"ready": ready, "machine": machine, "findings": [_row(finding) for finding in findings]})
    else:
        _print(findings, machine, ready)
    if not ready:
        sys.exit(1)


def _row(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "works": finding.works}


def _tool(tool: Tool) -> Finding:
    path = shutil.which(tool.command)
    version = _ask(path, tool.version) if path else ""
    return Finding(tool.command, version, tool.used_for, tool.needed, tool.remedy)


def _ask(path: str, arguments: tuple[str, ...]) -> str:
    """The first thing in the program's output that looks like a version, or `present`; empty when it fails."""
    try:
        result = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return ""
    found = re.search(r"\d+(\.\d+)+\S*", result.stdout + result.stderr)
    if found:
        return found.group(0)
    return "present" if result.returncode == 0 else ""


def _package(name: str, used_for: str, needed: bool) -> Finding:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return Finding(name, version, used_for, needed, f"pip install {name}")


def _sandbox() -> Finding:
    """How candidate code is confined here: containers often forbid what it takes."""
    from ecot.backends.sandbox import find_sandbox
    from ecot.errors import SandboxError

    try:
        return Finding("sandbox", find_sandbox().description, "isolation", True, "")
    except SandboxError as error:
        return Finding("sandbox", "", "isolation", True, "", str(error))


def _attention() -> Finding:
    """What keeps packed documents apart in attention on this machine."""
    try:
        import torch  # slow to import, and only this line of the report needs it
    except (ImportError, OSError) as error:
        return Finding("attention", "", "document-masked attention", True, "install torch again", str(error))
    kind = "varlen_attn" if torch.cuda.is_available() else "per-document SDPA (CPU)"
    return Finding("attention", kind, "document-masked attention", True, "")


def _print(findings: list[Finding], machine: dict[str, Any], ready: bool) -> None:
    console.print(f"Python {machine['python']}, {machine['cores']} cores, {machine['platform']}")
    table = Table(box=None, pad_edge=False)
    for column in ("", "what", "version", "for", "how to get it"):
        table.add_column(column)
    for finding in findings:
        if finding.works:
            mark, hint = "[green]ok[/]", ""
        else:
            mark = "[red]missing[/]" if finding.needed else "[yellow]absent[/]"
            hint = f"{finding.problem} {finding.remedy}".strip()
        table.add_row(mark, finding.name, finding.version or "-", finding.used_for, hint)
    console.print(table)
    console.print("ready for make demo" if ready else "[red]not ready[/]: see the lines marked missing")
