"""Programs in the sandbox: natively for the values, under callgrind for the count, natively again for the time."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecot.backends.code_optimization.building import WALL_FACTOR
from ecot.backends.code_optimization.inputs import Case
from ecot.backends.code_optimization.records import Transcript, read_transcript
from ecot.backends.code_optimization.settings import MEBIBYTE, CodeSettings
from ecot.backends.sandbox import CommandRunner, Limits, SandboxCommand, SandboxResult
from ecot.errors import ToolError

_COLLECTED = re.compile(r"^==\d+== Collected : (\d+)$", re.MULTILINE)
_SYSTEM_CALL = re.compile(r"^SYSCALL\[\d+,\d+\]\( *(\d+)\)", re.MULTILINE)
_COUNT_FACTOR = 10
_VALGRIND_MIB = 4096
_OUTPUT_SLACK = 1 << 16


@dataclass(frozen=True)
class Inputs:
    """What one execution's programs are given."""

    cases: Sequence[Case]
    nonce: bytes
    data: bytes
    """The cases as the harness reads them."""

    @property
    def output_bytes(self) -> int:
        """Cap of what the harness writes."""
        return len(self.data) + len(self.cases) * 64 + _OUTPUT_SLACK


@dataclass(frozen=True)
class Run:
    """One run of a program."""

    result: SandboxResult
    transcript: Transcript


@dataclass(frozen=True)
class Count:
    """One run under callgrind."""

    run: Run
    """Without what valgrind says on standard error."""
    instructions: int | None
    """All that the process executed, the harness included; None if it did not end by itself."""
    system_calls: tuple[str, ...]
    """Numbers, in order: those of the harness, and none of the candidate's."""


async def run_program(
    runner: CommandRunner, program: bytes, inputs: Inputs, settings: CodeSettings, mode: str = "run"
) -> Run:
    """Run a program natively; `mode` is `run`, or `time` to repeat each call and count clock cycles."""
    seconds = settings.run_seconds * (_COUNT_FACTOR if mode == "time" else 1)
    result = await runner.run(
        SandboxCommand(
            argv=("/tmp/program", mode),
            inputs={"program": program, "tests": inputs.data},
            limits=Limits(
                cpu_seconds=seconds,
                wall_seconds=seconds * WALL_FACTOR,
                memory_bytes=settings.memory_mib * MEBIBYTE,
                output_bytes=inputs.output_bytes,
                processes=16,
            ),
        )
    )
    return Run(result, read_transcript(result.stdout, inputs.cases, inputs.nonce))


async def count_program(
    runner: CommandRunner, valgrind: str, program: bytes, inputs: Inputs, settings: CodeSettings
) -> Count:
    """Run a program under callgrind.

    All of the process is counted, so that nothing is gained by doing the work elsewhere than in the function.
    """
    seconds = settings.run_seconds * _COUNT_FACTOR
    result = await runner.run(
        SandboxCommand(
            argv=(
                valgrind,
                "--tool=callgrind",
                "--callgrind-out-file=/dev/null",
                "--trace-syscalls=yes",
                "/tmp/program",
                "count",
            ),
            inputs={"program": program, "tests": inputs.data},
            limits=Limits(
                cpu_seconds=seconds,
                wall_seconds=seconds * WALL_FACTOR,
                memory_bytes=_VALGRIND_MIB * MEBIBYTE,
                output_bytes=inputs.output_bytes,
                processes=16,
            ),
            process_files=True,
        )
    )
    log = result.stderr.decode("utf-8", "replace")
    collected = _COLLECTED.findall(log)
    plain = SandboxResult(**{**vars(result), "stderr": b""})
    return Count(
        Run(plain, read_transcript(result.stdout, inputs.cases, inputs.nonce)),
        int(collected[0]) if len(collected) == 1 else None,
        tuple(_SYSTEM_CALL.findall(log)),
    )


async def time_pairs(
    runner: CommandRunner, candidate: bytes, baseline: bytes, inputs: Inputs, settings: CodeSettings, pairs: int
) -> Mapping[str, float]:
    """Run baseline and candidate in turn and compare their clock cycles pair by pair.

    The mean of the logarithms of the ratios, with a 95% confidence interval by Student's t; what slows both programs
    of a pair cancels out. The figures decide nothing.

    Raises:
        ToolError: a program that ran before does not run now.
    """
    logs = []
    programs = {"baseline": baseline, "candidate": candidate}
    for number in range(pairs):
        cycles = {}
        # Every second pair the other way round, so that a drift favours neither.
        order = ("baseline", "candidate") if number % 2 == 0 else ("candidate", "baseline")
        for name in order:
            run = await run_program(runner, programs[name], inputs, settings, "time")
            if not run.transcript.ended or run.transcript.cycles <= 0:
                raise ToolError(f"the {name} ran for its values, but not for the time; run fewer workers")
            cycles[name] = run.transcript.cycles
        logs.append(math.log(cycles["baseline"] / cycles["candidate"]))
    mean = statistics.fmean(logs)
    half = student_t95(pairs - 1) * statistics.stdev(logs) / math.sqrt(pairs)
    return {"speedup": math.exp(mean), "speedup_low": math.exp(mean - half), "speedup_high": math.exp(mean + half)}


def student_t95(degrees: int) -> float:
    """The 97.5% point of Student's t distribution (Abramowitz and Stegun 26.7.5, within 0.002 from 6 degrees on)."""
    exact = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571}
    if degrees in exact:
        return exact[degrees]
    z = 1.959964
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / degrees**power for power, term in enumerate(terms))
