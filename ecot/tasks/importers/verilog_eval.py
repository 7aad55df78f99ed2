"""VerilogEval v2, spec-to-rtl (https://github.com/NVlabs/verilog-eval, MIT).

A task is `ProbNNN_name_prompt.txt`, `_ref.sv` (module `RefModule`) and `_test.sv` (module `tb`, which compares the
candidate `TopModule` with `RefModule` and prints `Mismatches: k in n samples`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ecot.outcomes import Domain
from ecot.tasks.importers.source import VERDICT, ImportedTask, read_text, rename, replace_once, without_comments

ENTRY = "TopModule"

RUN_SECONDS = 30
"""The reference of one task (conwaylife) computes for 10 s and more."""

_HINT = re.compile(
    r"if \((\w+\.errors_\w+)\) "
    r"\$display\(\"Hint: Output '%s' has %0d mismatches\.[^\"]*\", \"(\w+)\", \1, (\w+\.\w+)\);\s*"
    r"else \$display\(\"Hint: Output '%s' has no mismatches\.\", \"\2\"\);"
)
_TOTAL = r'\$display\("Mismatches: %1d in %1d samples", (\w+\.errors), (\w+\.clocks)\);'
_DUMP = re.compile(r"\$dump(?:file|vars)\s*\([^;]*\);")


def read(source: Path) -> Iterator[ImportedTask]:
    """The tasks of a folder, or of the `dataset_spec-to-rtl` folder in it.

    Raises:
        DataError: a file is missing or not in the expected form.
    """
    folder = source / "dataset_spec-to-rtl"
    for prompt in sorted((folder if folder.is_dir() else source).glob("Prob*_prompt.txt")):
        name = prompt.name.removesuffix("_prompt.txt")
        golden = read_text(prompt.with_name(f"{name}_ref.sv"))
        yield ImportedTask(
            name=name,
            title=name.partition("_")[2].replace("_", " "),
            domain=Domain.CHIP_DESIGN,
            language="systemverilog",
            entry=ENTRY,
            spec=read_text(prompt),
            reference=("reference.sv", rename(golden, "RefModule", ENTRY)),
            hidden={"golden.sv": golden, "testbench.sv": _testbench(prompt.with_name(f"{name}_test.sv"))},
            tags=("verilog_eval",),
            settings={"run_seconds": RUN_SECONDS},
        )


def _testbench(path: Path) -> str:
    return public_testbench(read_text(path), path)


def public_testbench(text: str, place: Path) -> str:
    """The public testbench with its verdict in the harness's form and without dumps of waves.

    Its `final` block prints whatever ended the simulation; the harness compares the number of samples.

    Raises:
        DataError: it does not count mismatches as all of them do.
    """
    text = _DUMP.sub("", without_comments(text))
    text = _HINT.sub(rf'$display("{VERDICT} output %s 0 %0d %0d - -", ECOT_NONCE, "\2", \1, \3);', text)
    total = rf'$display("{VERDICT} total %0d %0d", ECOT_NONCE, \2, \1);'
    text = replace_once(_TOTAL, total, text, place, "the line of the verdict")
    return rename(text, "tb", "testbench")
