"""From JSONL to packed rows: tokens per second of this package, of TRL and of the floor, on the same rows and cores.

    python -m benchmarks.data.throughput --out benchmarks/results/throughput.json

Every contender runs in a process of its own; in each round all run once, starting with another one each time; medians
count. CPU seconds stand beside, for machines that are shared. Memory is the largest sum over a contender's processes
(proportional set size, /proc). The default of 3,000 rows of about 4,000 tokens takes some 8 minutes on 2 cores, most of
them TRL's; `--rows 20000 --rounds 1` takes about 20. `--large 20000` (the default) runs this package once more on so
many rows, to see that memory does not grow.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.data.contenders import CONTENDERS, PACK, profile_ecot, run_one
from benchmarks.data.rows import make_tokenizer, write_rows

TARGETS = {"floor": 0.8, "trl": 2.5, "trl, processes": 1.5}
"""Tokens per second of this package over those of the contender, at least."""
MEMORY_TARGET_MB = 1500


class MemoryWatch:
    """Looks at a process and all its descendants twice a second."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,))
        self._thread.start()

    def stop(self) -> float:
        """The largest sum of proportional set sizes, in MB."""
        self._stop.set()
        self._thread.join()
        return self.peak_mb

    def _watch(self, pid: int) -> None:
        while not self._stop.wait(0.5):
            self.peak_mb = max(self.peak_mb, sum(map(_proportional_kb, _family(pid))) / 1024)


def _family(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [pid, *(member for child in children for member in _family(child))]


def _proportional_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def launch(arguments: list[str]) -> dict[str, Any]:
    """Run this script for one contender; its result and its peak memory."""
    command = [sys.executable, "-m", "benchmarks.data.throughput", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watch = MemoryWatch(process.pid)
    output, errors = process.communicate()
    peak = watch.stop()
    if process.returncode:
        sys.exit(errors[-3000:])
    return {**json.loads(output.splitlines()[-1]), "peak_mb": peak}


def measure(folder: Path, names: list[str], rounds: int, cores: int) -> dict[str, list[dict[str, Any]]]:
    """All runs of all contenders."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            runs[name].append(launch(["--one", name, str(folder), "--cores", str(cores)]))
            print(f"round {turn + 1}: {name}: {runs[name][-1]['wall']:.1f} s", file=sys.stderr, flush=True)
    return runs


def summarise(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians per contender, and the ratios that the targets are about."""
    medians = {
        name: {key: statistics.median(run[key] for run in own) for key in ("tokens", "wall", "cpu", "peak_mb")}
        for name, own in runs.items()
    }
    for row in medians.values():
        row["tokens_per_second"] = row["tokens"] / row["wall"]
        row["tokens_per_cpu_second"] = row["tokens"] / row["cpu"]
    ratios = {}
    for name, target in TARGETS.items():
        if name in medians and "ecot" in medians:
            pair = medians["ecot"], medians[name]
            by_wall, by_cpu = (pair[0][key] / pair[1][key] for key in ("tokens_per_second", "tokens_per_cpu_second"))
            ratios[name] = {"by_wall": by_wall, "by_cpu": by_cpu, "target": target, "met": by_wall >= target}
    return {"medians": medians, "ratios": ratios, "runs": runs}


def environment(cores: int) -> dict[str, Any]:
    """What the figures depend on."""
    from benchmarks.kernels.measure import environment as machine

    packages = ("tokenizers", "transformers", "trl", "datasets", "pyarrow", "numpy")
    return machine("cpu") | {"cores": cores, "versions": {name: version(name) for name in packages}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--tokens", type=int, default=4000, help="of a row, about")
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=20_000, help="rows of one more run of this package; 0: none")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--contenders", default=";".join(CONTENDERS), help="names with ; between them")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, folder = options.one[0], Path(options.one[1])
        print(json.dumps(profile_ecot(folder) if name == "profile" else run_one(name, folder, options.cores)))
        return
    began = time.perf_counter()
    results: dict[str, Any] = {"environment": environment(options.cores), "rows": options.rows, "pack_tokens": PACK}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", options.rows, options.tokens)
        make_tokenizer(folder / "rows.jsonl", folder / "tok", options.vocab)
        results |= summarise(measure(folder, options.contenders.split(";"), options.rounds, options.cores))
        write_rows(folder / "rows.jsonl", min(options.rows, 500), options.tokens)
        shares = launch(["--one", "profile", name])
        results["share_of_time"] = {stage: share for stage, share in shares.items() if stage != "peak_mb"}
        if options.large:
            write_rows(folder / "rows.jsonl", options.large, options.tokens)
            results["large"] = launch(["--one", "ecot", name, "--cores", str(options.cores)])
            results["large"] |= {"rows": options.large, "memory_target_mb": MEMORY_TARGET_MB}
    results["minutes"] = (time.perf_counter() - began) / 60
    show(results)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def show(results: dict[str, Any]) -> None:
    print(f"{'':16}{'tokens':>12}{'wall s':>9}{'cpu s':>9}{'tokens/s':>11}{'tok/cpu-s':>11}{'peak MB':>9}")
    for name, row in results["medians"].items():
        print(
            f"{name:16}{row['tokens']:12,.0f}{row['wall']:9.2f}{row['cpu']:9.2f}{row['tokens_per_second']:11,.0f}"
            f"{row['tokens_per_cpu_second']:11,.0f}{row['peak_mb']:9.0f}"
        )
    for name, ratio in results["ratios"].items():
        print(
            f"ecot / {name}: {ratio['by_wall']:.2f} by wall time, {ratio['by_cpu']:.2f} by CPU time; "
            f"target {ratio['target']}: {'met' if ratio['met'] else 'missed'}"
        )
    for stage, share in results["share_of_time"].items():
        print(f"{share:7.1%}  {stage}")
    if "large" in results:
        large = results["large"]
        print(
            f"{large['rows']:,} rows: {large['tokens'] / large['wall']:,.0f} tokens/s, peak {large['peak_mb']:.0f} MB"
        )


if __name__ == "__main__":
    main()
