"""Executions per second of every backend, the cost of a cache hit, and that of the sandbox alone.

    python -m benchmarks.backends.executions --out benchmarks/results/backends.json

Candidates are the shipped tasks' references and wrong candidates, in turn, so that the mix of labels is that of the
bundles; for RTL also mutants of the references by the project's fault operators, each distinct, on the simulator alone
and with linter and synthesis; for CAD also mutants of small parts (`cad_parts.py`). Candidates that run into a time
limit are left out and counted: how long they take is a setting. Nothing is cached but where it says so. A backend whose
tools are missing is named and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.backends.cad_parts import part_jobs
from ecot.backends.cache import CachedBackend
from ecot.backends.cad_3d.backend import BUILD, SERVER
from ecot.backends.cad_3d.exchange import SCRIPT
from ecot.backends.concurrency import run_all
from ecot.backends.protocol import Backend
from ecot.backends.registry import backends_named, make_backend
from ecot.backends.sandbox import SandboxCommand, ToolPool, find_sandbox
from ecot.backends.sandbox.fork_server import ForkCommand, ForkPool
from ecot.backends.tool_backend import default_workers
from ecot.errors import ToolError
from ecot.outcomes import Label
from ecot.synthesis.faults import OPERATORS
from ecot.synthesis.faults.stack import FaultStack, choose_edit
from ecot.synthesis.verilog.design import read_design
from ecot.tasks.bundle import Task
from ecot.tasks.registry import load_tasks

Job = tuple[Task, str]

_BATCH = 16


def bundle_jobs(tasks: Sequence[Task]) -> list[Job]:
    """Every candidate of the bundles but those that use up a time limit."""
    jobs = []
    for task in tasks:
        jobs.append((task, task.reference))
        jobs += [(task, wrong.code) for wrong in task.wrong if wrong.label is not Label.TIMEOUT]
    return jobs


def mutant_jobs(tasks: Sequence[Task], count: int, seed: int) -> list[Job]:
    """Distinct references with one fault each."""
    rng = random.Random(seed)
    found: dict[str, Job] = {}
    designs = {task.id: read_design(task.reference) for task in tasks}
    operators = list(OPERATORS.values())
    while len(found) < count:
        task = rng.choice(tasks)
        edit = choose_edit(designs[task.id], rng.choice(operators), rng)
        if edit is not None:
            code = FaultStack(task.reference, (edit,)).text([edit])
            found[code] = (task, code)
    return list(found.values())


async def timed(backend: Backend, jobs: Sequence[Job], seconds: float) -> dict[str, Any]:
    """Run jobs in batches until the time is over; what the references need for themselves is done before."""
    for task in {task.id: task for task, _ in jobs}.values():
        await backend.execute(task, task.reference)
    labels: Counter[str] = Counter()
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        batch = [jobs[(done + offset) % len(jobs)] for offset in range(_BATCH)]
        labels.update(str(execution.label) for execution in await backend.execute_many(batch))
        done += len(batch)
    elapsed = time.perf_counter() - begin
    return {"executions": done, "seconds": elapsed, "per_second": done / elapsed, "labels": dict(labels.most_common())}


def measure(name: str, make: Callable[[], Backend], jobs: Sequence[Job], seconds: float) -> dict[str, Any]:
    try:
        backend = make()
    except ToolError as error:
        print(f"{name}: left out: {error}")
        return {"backend": name, "left_out": str(error)}
    row = {"backend": name, "candidates": len(jobs), **asyncio.run(timed(backend, jobs, seconds))}
    print(f"{name}: {row['per_second']:.1f} executions a second over {row['seconds']:.0f} s; {row['labels']}")
    return row


def cad_scripts(jobs: Sequence[Job], seconds: float) -> dict[str, Any]:
    """How many of the CAD candidates' scripts CadQuery itself gets through, with nothing measured or compared."""
    workers = default_workers()
    pool = ForkPool(SERVER, workers=workers)

    async def run() -> float:
        async def one(task: Task, code: str) -> None:
            files = {name: text.encode() for name, text in task.environment.items()} | {SCRIPT: code.encode()}
            await pool.run(ForkCommand(BUILD, {"entry": task.entry}, files))

        await run_all([one(*job) for job in jobs[:workers]])
        done, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            await run_all([one(*jobs[(done + offset) % len(jobs)]) for offset in range(_BATCH)])
            done += _BATCH
        return done / (time.perf_counter() - begin)

    try:
        per_second = asyncio.run(run())
    finally:
        pool.close()
    print(f"cadquery, the scripts alone: {per_second:.1f} a second")
    return {"backend": "cadquery, the scripts alone", "candidates": len(jobs), "per_second": per_second}


def cache_hit(jobs: Sequence[Job]) -> dict[str, Any]:
    """Microseconds of serving one execution from a warm cache, in batches of 16."""
    with tempfile.TemporaryDirectory() as folder:
        backend = make_backend("icarus", cache=Path(folder, "cache.sqlite"), lint=False, synthesis=False)
        assert isinstance(backend, CachedBackend)

        async def run() -> float:
            batch = list(jobs[:16])
            await backend.execute_many(batch)
            times = []
            for _ in range(50):
                begin = time.perf_counter()
                await backend.execute_many(batch)
                times.append(time.perf_counter() - begin)
            return sorted(times)[len(times) // 2] / len(batch)

        return {"cache_hit_us": 1e6 * asyncio.run(run())}


def sandbox_overhead() -> dict[str, Any]:
    """Milliseconds of running `true` in a sandbox of its own, in one that stays, and in none: medians of 50."""
    sandbox = find_sandbox()
    pool = ToolPool(workers=1, sandbox=sandbox)
    command = SandboxCommand(("/bin/true",))

    async def run() -> list[float]:
        times: list[list[float]] = [[], [], []]
        await pool.run(command)
        for _ in range(50):
            for taken, runner in zip(times, (sandbox, pool), strict=False):
                begin = time.perf_counter()
                await runner.run(command)
                taken.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            subprocess.run(command.argv, check=True)
            times[2].append(time.perf_counter() - begin)
        return [1e3 * sorted(taken)[25] for taken in times]

    own, staying, bare = asyncio.run(run())
    pool.close()
    return {"sandbox": sandbox.description, "own_ms": own, "staying_ms": staying, "bare_ms": bare}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0, help="per backend")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rtl = list(load_tasks("builtin:chip_design").values())
    mutants = mutant_jobs(rtl, 600, arguments.seed)
    rows = [
        measure(
            "icarus, mutants, simulator alone",
            lambda: make_backend("icarus", lint=False, synthesis=False),
            mutants,
            arguments.seconds,
        ),
        measure("icarus, mutants", lambda: make_backend("icarus"), mutants, arguments.seconds),
    ]
    for name, domain in backends_named():
        tasks = list(load_tasks(f"builtin:{domain}").values())
        rows.append(measure(name, lambda name=name: make_backend(name), bundle_jobs(tasks), arguments.seconds))
        if name == "cadquery" and "per_second" in rows[-1]:
            rows.append(cad_scripts(bundle_jobs(tasks), arguments.seconds))
            parts = part_jobs(600, arguments.seed)
            rows.append(
                measure("cadquery, mutants of small parts", lambda: make_backend("cadquery"), parts, arguments.seconds)
            )
    report = {
        "machine": {
            "processor": platform.processor(),
            "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(),
        },
        "versions": {"ecot": version("ecot"), "python": platform.python_version()},
        "overhead": {**sandbox_overhead(), **cache_hit(bundle_jobs(rtl))},
        "backends": rows,
    }
    print(json.dumps(report["overhead"]))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
