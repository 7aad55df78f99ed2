"""What the machine does to a run is an error of the tool, never a label of the candidate."""

import asyncio
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ecot.backends.cache import CachedBackend, ExecutionCache
from ecot.backends.chip_design import icarus as icarus_module
from ecot.backends.chip_design.harness import make_bench
from ecot.backends.chip_design.judging import judge_compilation, judge_run
from ecot.backends.sandbox import Limits, SandboxResult
from ecot.errors import ToolError
from ecot.outcomes import Label

ENDED = SandboxResult(1, None, b"", b"", {}, False, False, False, 0.1)
LONG = (
    "function integer f(input integer n); integer i; begin f = 0; for (i = 0; i < 2000000000; i = i + 1) f = f + n;\n"
)
SLOW_TO_COMPILE = LONG + "end endfunction\nlocalparam integer HUGE = f(1);\nendmodule"
SLOW_TO_RUN = "reg [7:0] spin = 1; initial while (spin != 0) spin = spin | 1;\nendmodule"


def descendants(root):
    """Names of the processes under one process, by their ids."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(folder.name)
        names[pid] = text[text.index("(") + 1 : text.rindex(")")]
        parents[pid] = int(text[text.rindex(")") + 2 :].split()[1])
    found, grown = set(), {root}
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in grown}
        found |= grown
    return {pid: names[pid] for pid in found}


def kill_when_seen(name):
    """Do what the kernel does when memory runs out."""
    for _ in range(20_000):
        for pid, found in descendants(os.getpid()).items():
            if found == name:
                os.kill(pid, signal.SIGKILL)
                return
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("victim", "extra"),
    [
        ("ivl", SLOW_TO_COMPILE),
        ("ivl", "`define NOTHING\n" + SLOW_TO_COMPILE),
        ("vvp", SLOW_TO_RUN),
    ],
)
def test_a_kill_from_outside_is_no_outcome_and_is_not_cached(icarus, tasks, tmp_path, victim, extra):
    cached = CachedBackend(icarus, ExecutionCache(tmp_path / "cache.sqlite"))
    task = tasks["alu"]
    asyncio.run(icarus.execute(task, task.reference))  # so that the reference is not what is killed
    killer = threading.Thread(target=kill_when_seen, args=(victim,))
    killer.start()
    with pytest.raises(ToolError, match="killed from outside"):
        asyncio.run(cached.execute(task, task.reference.replace("endmodule", extra)))
    killer.join()
    assert asyncio.run(cached.execute(task, task.reference)).passed
    assert len(ExecutionCache(tmp_path / "cache.sqlite")) == 1


def test_a_wall_deadline_is_no_outcome_whatever_the_processor_time(icarus, tasks, monkeypatch):
    cases = (({"compile_seconds": 1}, SLOW_TO_COMPILE, "iverilog"), ({"compile_seconds": 99}, SLOW_TO_RUN, "vvp"))
    for settings, extra, program in cases:
        task = replace(tasks["alu"], settings={"run_seconds": 1, **settings})
        asyncio.run(icarus.execute(task, task.reference))  # the reference is judged under its own limits
        monkeypatch.setattr(icarus_module, "tool_limits", lambda cpu, *_: Limits(cpu_seconds=99, wall_seconds=cpu))
        with pytest.raises(ToolError, match=f"{program} was stopped after 1 s of real time"):
            asyncio.run(icarus.execute(task, task.reference.replace("endmodule", extra)))
        monkeypatch.undo()


def test_processor_time_is_the_candidates(icarus, tasks):
    task = replace(tasks["alu"], settings={"run_seconds": 1})
    execution = asyncio.run(icarus.execute(task, task.reference.replace("endmodule", SLOW_TO_RUN)))
    assert (execution.label, execution.subcode) == (Label.TIMEOUT, "run")


@pytest.mark.parametrize(
    ("stderr", "message"),
    [(b"", "failed without a word"), (b"sh: 0: Cannot fork\n", "could not start a process"), (b"halfKilled\n", "kill")],
)
def test_a_compiler_that_could_not_work_is_no_outcome(tasks, stderr, message):
    bench = make_bench(tasks["alu"], tasks["alu"].reference, b"secret")
    with pytest.raises(ToolError, match=message):
        judge_compilation(replace(ENDED, stderr=stderr), bench, "alu")


def test_a_candidate_that_speaks_of_being_killed_is_judged(execute, tasks, icarus):
    bench = make_bench(tasks["alu"], tasks["alu"].reference, b"secret")
    said = b"candidate.sv:1: error: Unable to bind `Killed'\n1 error(s) during elaboration.\n"
    assert judge_compilation(replace(ENDED, stderr=said), bench, "alu").label is Label.COMPILATION_ERROR
    flooded = replace(ENDED, exit_code=None, signal=signal.SIGKILL, output_truncated=True)
    assert judge_run(flooded, bench, "alu", 1, ()).label is Label.RESOURCE_EXCEEDED
    undefined = tasks["alu"].reference.replace("endmodule", "Killed unit ();\nendmodule")
    assert execute(tasks["alu"], undefined).label is Label.COMPILATION_ERROR
