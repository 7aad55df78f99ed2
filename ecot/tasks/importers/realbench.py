"""RealBench, module level (https://github.com/IPRC-DIP/RealBench, MIT).

A task is a folder `<system>/<module>/` (`aes/aes_sbox`) with `<module>.md`, the specification, which the repository
keeps encrypted as `.md.gpg`, and `verification/`:

    <module>_ref.sv            module `ref_<module>`, the golden model
    <module>_stimulus_gen.sv   module `stimulus_gen`
    <module>_testbench.sv      a module without ports, mostly `tb`, that compares the two
    <module>_top.sv            module `<module>`: the reference, in whose place a candidate is put
    *.v, *.sv (and *.vh ...)   submodules, of the golden model (`ref_...`) or of both, and headers

The public harness gives all of them to Verilator, takes any word on standard error for a syntax error, and calls a
candidate right unless a line `Hint: Output ... mismatches` is printed, so one that ends the simulation at once too.
Here the counters behind those lines are the verdict, with the number of samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ecot.errors import DataError
from ecot.outcomes import Domain
from ecot.tasks.importers.source import VERDICT, ImportedTask, modules_in, read_text, rename, without_comments

FOLDER = "verification"
RUN_SECONDS = 30
COMPILE_SECONDS = 30
"""Some golden models are a whole processor."""

_SUFFIXES = (".v", ".sv", ".vh", ".svh")
_PARTS = ("ref", "stimulus_gen", "testbench", "top")
_PREFIX = "ref_"
_DEFAULT_TIMESCALE = "`timescale 1ps/1ps"
"""Verilator's, for files that have none."""

_TIMESCALE = re.compile(r"`timescale\s+[^/\n]+/\s*\d+\s*\w+")
_INCLUDE = re.compile(r'`include\s+"([^"]+)"')
_INSTANCE = re.compile(rf"(?<![\w.`$])({_PREFIX}\w+)\s+(?:#\s*\(|\w+\s*\()")
_DUMP = re.compile(r"\$dump(?:file|vars)\s*(?:\([^;]*\))?\s*;")
_TOP = re.compile(r"\bmodule\s+(\w+)\s*(?:\(\s*\))?\s*;")
_HINT = re.compile(
    r"\$display\s*\(\s*\"Hint: Output '?(?P<name>%s|[\w.\[\]:]+)[^\"]*? has %\d*d mismatches[^\"]*\"\s*,"
    r"(?:\s*\"(?P<given>[^\"]+)\"\s*,)?\s*(?P<count>[\w.]+)\s*,\s*(?P<time>[\w.]+)\s*\)\s*;"
)
_NO_HINT = re.compile(
    r"\$display\s*\(\s*\"Hint: Output '?(?P<name>%s|[\w.\[\]:]+)[^\"]*? has no mismatches[^\"]*\"\s*"
    r"(?:,\s*\"(?P<given>[^\"]+)\"\s*)?\)\s*;"
)
_TOTAL = re.compile(
    r"\$display\s*\(\s*\"[^\"]*(?:Total mismatched samples is|Mismatches:)[^\"]*\"\s*,"
    r"\s*(?P<errors>[\w.]+)\s*,\s*(?P<samples>[\w.]+)\s*\)\s*;"
)


def read(source: Path) -> Iterator[ImportedTask]:
    """The module tasks of the repository, of one of its systems or of one module's folder.

    Raises:
        DataError: a file is missing, still encrypted, or not in the expected form.
    """
    for folder in sorted(path.parent for path in source.rglob(FOLDER) if path.is_dir()):
        yield _task(folder, source)


def _task(folder: Path, source: Path) -> ImportedTask:
    module = folder.resolve().name
    verification = folder / FOLDER
    paths = {part: verification / f"{module}_{part}.sv" for part in _PARTS}
    parts = {part: read_text(path) for part, path in paths.items()}
    for part, name in (("ref", _PREFIX + module), ("top", module)):
        if name not in modules_in(parts[part]):
            raise DataError(f"{paths[part]}: defines no module {name!r}; it has: {_listed(modules_in(parts[part]))}")
    testbench = _testbench(parts["testbench"], module, paths["testbench"])
    others = {
        path.name: read_text(path)
        for path in sorted(verification.iterdir())
        if path.suffix in _SUFFIXES and path not in paths.values()
    }
    texts = {paths[part]: text for part, text in parts.items()}
    _check_complete(texts | {verification / name: text for name, text in others.items()}, verification)
    shared = _shared(parts["top"], others)
    headers = [name for name, text in others.items() if not modules_in(text)]
    return ImportedTask(
        name=module,
        title=module.replace("_", " "),
        domain=Domain.CHIP_DESIGN,
        language="systemverilog",
        entry=module,
        spec=_specification(folder, module, source, shared, headers),
        reference=("reference.sv", parts["top"]),
        hidden=_hidden(parts, testbench, others, shared, headers),
        environment={name: others[name] for name in [*headers, *shared]},
        tags=("realbench", folder.resolve().parent.name),
        settings={
            "run_seconds": RUN_SECONDS,
            "compile_seconds": COMPILE_SECONDS,
            # Synthesis reads the candidate's file alone.
            "synthesis": not others,
        },
    )


def _specification(folder: Path, module: str, source: Path, shared: list[str], headers: list[str]) -> str:
    path = folder / f"{module}.md"
    if not path.is_file() and path.with_name(f"{path.name}.gpg").is_file():
        raise DataError(
            f"{path}: only the encrypted {path.name}.gpg is here; decrypt the specifications as RealBench's README "
            f"says (`make decrypt` in the root of its repository; needs gpg) and import {source} again"
        )
    text = read_text(path).strip()
    if shared:
        text += f"\n\nGiven, to be instantiated and not to be written: the modules in {_listed(shared)}."
    if headers:
        text += f"\n\nGiven, to be included: {_listed(headers)}."
    return text + "\n"


def _hidden(
    parts: Mapping[str, str], testbench: str, others: Mapping[str, str], shared: list[str], headers: list[str]
) -> dict[str, str]:
    """Golden model and testbench as two files, of which the first comes first.

    The golden model gets a copy of every submodule, in names that no candidate can know; those that a candidate may
    instantiate are included under their own names at the end.
    """
    found = _TIMESCALE.search(without_comments(parts["testbench"]))
    timescale = found[0] if found else _DEFAULT_TIMESCALE
    submodules = [text for name, text in others.items() if name not in headers]
    # The public harness compiles what ends in `v`, headers too, so their macros hold in all files after them.
    included = [f'`include "{name}"' for name in headers if name.endswith("v")]
    golden = [timescale, *included, *submodules, parts["ref"], parts["stimulus_gen"]]
    last = [timescale, testbench, *[f'`include "{name}"' for name in shared], timescale]
    return {"golden.sv": "\n".join([*golden, ""]), "testbench.sv": "\n".join([*last, ""])}


def _shared(top: str, others: Mapping[str, str]) -> list[str]:
    """Files with submodules that a candidate may instantiate: all but the golden model's own, `ref_...`.

    One of those counts too if the reference, or a shared submodule, uses it.
    """
    defined = {name: set(modules_in(text)) for name, text in others.items()}
    shared = [name for name, modules in defined.items() if any(not item.startswith(_PREFIX) for item in modules)]
    while True:
        words = set(re.findall(r"\w+", without_comments("\n".join([top, *(others[name] for name in shared)]))))
        more = [name for name, modules in defined.items() if name not in shared and modules & words]
        if not more:
            return sorted(shared)
        shared += more


def _check_complete(texts: Mapping[Path, str], folder: Path) -> None:
    """Refuse a folder of which a file is missing, by what the others include or instantiate."""
    defined = {module for text in texts.values() for module in modules_in(text)}
    names = {path.name for path in texts}
    for path, text in texts.items():
        plain = without_comments(text)
        for name in _INCLUDE.findall(plain):
            if name not in names:
                raise DataError(f"{path}: includes {name!r}, which is not in {folder}")
        for module in _INSTANCE.findall(plain):
            if module not in defined:
                raise DataError(f"{path}: instantiates {module!r}, which no file in {folder} defines")


def _testbench(text: str, module: str, place: Path) -> str:
    """The public testbench as module `testbench`, with its verdict in the harness's form and without dumps of waves.

    Raises:
        DataError: it does not instantiate the module, or counts mismatches in another way than all of them do.
    """
    text = _DUMP.sub("", without_comments(text))
    if not re.search(rf"(?<![\w.]){module}\s+(?:#\s*\(|\w+\s*\()", text):
        raise DataError(f"{place}: instantiates no module {module!r}")
    tops = list(_TOP.findall(text))
    if len(tops) != 1:
        raise DataError(f"{place}: {len(tops)} modules without ports, not one")
    totals = list(_TOTAL.finditer(text))
    if not totals:
        raise DataError(f"{place}: no line of the verdict, 'Hint: Total mismatched samples is ...'")
    counts = [match["count"] for match in _HINT.finditer(text)]
    errors, samples = totals[0]["errors"], totals[0]["samples"]
    # A fault of an output alone fails too, as it does in the public harness.
    wrong = f"({errors} != 0 ? {errors} : {' + '.join(counts)})" if counts else errors
    verdict = f'$display("{VERDICT} total %0d %0d", ECOT_NONCE, {samples}, {wrong});'
    text = text[: totals[0].start()] + verdict + _TOTAL.sub("", text[totals[0].end() :])
    text = _HINT.sub(lambda match: _output(match, match["count"], match["time"]), text)
    text = _NO_HINT.sub(lambda match: _output(match, "0", "0"), text)
    return rename(text, tops[0], "testbench")


def _output(match: re.Match[str], count: str, time: str) -> str:
    name = match["given"] or match["name"]
    return f'$display("{VERDICT} output {name} 0 %0d %0d - -", ECOT_NONCE, {count}, {time});'


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) if names else "none"
