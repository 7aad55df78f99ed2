"""RTLLM 2.0 (https://github.com/hkust-zhiyao/RTLLM, MIT).

A task is a folder with `design_description.txt`, `testbench.v` and `verified_*.v`; the testbench prints `Your Design
Passed`, or something else, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ecot.errors import DataError
from ecot.outcomes import Domain
from ecot.tasks.importers.source import VERDICT, ImportedTask, modules_in, read_text, rename, without_comments

RUN_SECONDS = 10

_PASSED = re.compile(r'\$display\s*\(\s*"[^"]*Your Design Passed[^"]*"[^;]*\)\s*;')
_FAILED = re.compile(r'\$display\s*\(\s*"=[^"]*(?:Error|Failed|Test completed)[^"]*"[^;]*\)\s*;')
_COMPLAINT = re.compile(r'\$display\s*\(\s*"[^"]*(?:[Ee]rror|[Ff]ailed)[^"]*"[^;]*\)\s*;')
_END = re.compile(r"\$(?:finish|stop)\s*(?:\([^)]*\))?\s*;")
_DUMP = re.compile(r"\$dump(?:file|vars)\s*(?:\([^;]*\))?\s*;")
_READ = re.compile(r'\$readmem([hb])\s*\(\s*"([^"]+)"\s*,\s*(\w+)\s*\)\s*;')


def read(source: Path) -> Iterator[ImportedTask]:
    """The tasks below a folder.

    Raises:
        DataError: a file is missing or not in the expected form.
    """
    for path in sorted(source.rglob("design_description.txt")):
        folder = path.parent
        testbench = without_comments(read_text(folder / "testbench.v"))
        reference, entry = _reference(folder, testbench)
        yield ImportedTask(
            name=folder.name,
            title=folder.name.replace("_", " "),
            domain=Domain.CHIP_DESIGN,
            language="verilog",
            entry=entry,
            spec=read_text(path),
            reference=("reference.v", reference),
            hidden={"testbench.sv": _testbench(folder, testbench)},
            tags=("rtllm", folder.parent.name.lower().replace(" ", "_")),
            settings={"run_seconds": RUN_SECONDS},
        )


def _reference(folder: Path, testbench: str) -> tuple[str, str]:
    """The verified design under the name by which the testbench instantiates it, and that name."""
    files = sorted(folder.glob("verified_*.v"))
    if len(files) != 1:
        raise DataError(f"{folder}: holds {len(files)} files verified_*.v, not one")
    text = read_text(files[0])
    modules = modules_in(text)
    own = set(modules_in(testbench))
    for module in modules:
        name = module.removeprefix("verified_")
        if name not in own and re.search(rf"^\s*{name}\s*(?:#\s*\(|\w+\s*\()", testbench, re.MULTILINE):
            return rename(text, module, name), name
    # Two designs of the collection carry another name than their testbench expects.
    prefixed = [module for module in modules if module.startswith("verified_")]
    expected = re.findall(rf"^\s*({folder.name})\s*(?:#\s*\(|\w+\s*\()", testbench, re.MULTILINE)
    if len(prefixed) == 1 and expected:
        return rename(text, prefixed[0], expected[0]), expected[0]
    raise DataError(f"{folder / 'testbench.v'}: instantiates none of the modules {', '.join(modules)}")


def _testbench(folder: Path, testbench: str) -> str:
    """The public testbench with its verdict in the harness's form: one sample, which passed or did not.

    It ends with its verdict (some never do), what it prints about single failures counts against the candidate, and an
    end without any verdict is a failure.
    """
    top = _top(folder, testbench)
    failed = f'begin $display("{VERDICT} total 1 1", ECOT_NONCE); $finish; end'
    passed = f'begin $display("{VERDICT} total 1 %0d", ECOT_NONCE, complaints != 0); $finish; end'
    text = _END.sub(lambda _: failed, _DUMP.sub("", testbench))
    text = _PASSED.sub(lambda _: passed, text)
    text = _FAILED.sub(lambda _: failed, text)
    text = _COMPLAINT.sub("complaints = complaints + 1;", text)
    text = _READ.sub(lambda match: _initialised(folder, match), text)
    if passed not in text:
        raise DataError(f"{folder / 'testbench.v'}: never says 'Your Design Passed'")
    text = re.sub(rf"(\bmodule\s+{top}\s*(?:\(\s*\))?\s*;)", r"\1\n    integer complaints = 0;", text, count=1)
    return rename(text, top, "testbench")


def _top(folder: Path, testbench: str) -> str:
    """The testbench's module: the one without ports."""
    names = re.findall(r"\bmodule\s+(\w+)\s*(?:\(\s*\))?\s*;", testbench)
    if len(names) != 1:
        raise DataError(f"{folder / 'testbench.v'}: {len(names)} modules without ports, not one")
    return str(names[0])


def _initialised(folder: Path, match: re.Match[str]) -> str:
    """Assignments in place of `$readmemh`: a simulation in the sandbox reads no files."""
    base, name, memory = match[1], match[2], match[3]
    words = without_comments(read_text(folder / name)).split()
    assignments = [f"{memory}[{index}] = '{base}{word};" for index, word in enumerate(words)]
    return " ".join(["begin", *assignments, "end"])
