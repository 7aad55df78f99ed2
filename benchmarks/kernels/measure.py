"""Timing by turns, memory in a quiet moment, errors against a float32 reference."""

from __future__ import annotations

import ctypes
import gc
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

M_MMAP_THRESHOLD = -3
"""mallopt(3)."""
PACKAGES = (
    "torch",
    "triton",
    "transformers",
    "trl",
    "liger-kernel",
    "cut-cross-entropy",
    "quack-kernels",
    "flash-attn",
)


def time_by_turns(
    runs: Mapping[str, Callable[[], Any]], device: str, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Milliseconds of each launch: in every round each candidate runs once, starting with another one each time.

    So that clocks, heat and neighbours meet all of them alike; the L2 cache is overwritten before each launch. Stops
    after `rounds`, or after three rounds once `seconds` are over.
    """
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    flush = torch.empty(1 << 26, dtype=torch.int32, device=device) if device == "cuda" else None
    begin = time.perf_counter()
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if flush is not None:
                flush.zero_()
            times[name].append(_milliseconds(runs[name], device))
        if turn >= 2 and time.perf_counter() - begin > seconds:
            break
    return times


def _milliseconds(run: Callable[[], Any], device: str) -> float:
    if device != "cuda":  # CPU time of the one thread: other processes on the machine do not count
        start = time.process_time()
        run()
        return 1000 * (time.process_time() - start)
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    before.record()
    run()
    after.record()
    torch.cuda.synchronize()
    return before.elapsed_time(after)


def summary(times: list[float]) -> dict[str, float]:
    """Median and the 20th and 80th percentiles, in milliseconds."""
    ordered = sorted(times)
    low, high = ordered[round(0.2 * (len(ordered) - 1))], ordered[round(0.8 * (len(ordered) - 1))]
    return {"median_ms": statistics.median(times), "p20_ms": low, "p80_ms": high, "launches": len(times)}


def cuda_peak_bytes(run: Callable[[], Any]) -> int:
    """Memory above what was allocated before, gradients included."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def process_peak_bytes(run: Callable[[], Any]) -> int:
    """Resident memory of this process above what it had, gradients included (Linux; call it in a fresh process)."""
    gc.collect()
    libc = ctypes.CDLL("libc.so.6")
    libc.malloc_trim(0)  # freed memory that the process still holds would hide a peak ...
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 16)  # ... and larger blocks shall come from the system and go back to it
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status_bytes("VmRSS")
    run()
    return _status_bytes("VmHWM") - before


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"/proc/self/status has no {field}")


def relative_errors(results: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> dict[str, float]:
    """|result - reference| / |reference| of loss, dX and dW, in the reference's dtype."""
    names = ("loss", "d_hidden", "d_weight")
    return {
        name: float((result.to(exact.dtype) - exact).norm() / exact.norm())
        for name, result, exact in zip(names, results, reference, strict=True)
    }


def environment(device: str) -> dict[str, Any]:
    """What the figures depend on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    described: dict[str, Any] = {
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit.stdout.strip() or None,
        "date": time.strftime("%Y-%m-%d"),
    }
    if device == "cuda":
        query = "name,driver_version,clocks.sm,clocks.max.sm,power.limit"
        shown = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True
        )
        return described | {"gpu": shown.stdout.strip(), "capability": torch.cuda.get_device_capability()}
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return described | {"cpu": model[0].split(":")[1].strip() if model else None, "threads": torch.get_num_threads()}


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    """Write results where they are kept, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
