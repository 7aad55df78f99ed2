"""`ecot preflight`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ecot.cli.options import AsJson, ConfigPath, Overrides, console, print_json
from ecot.cli.run_config import load_run_config, require

if TYPE_CHECKING:
    from ecot.train.preflight.examine import Preflight

_COLOURS = {"ok": "green", "warning": "yellow", "failure": "bold red"}


def preflight(
    config_path: ConfigPath,
    overrides: Overrides = None,
    gpus: Annotated[int, typer.Option(min=1, help="Ranks, one per GPU.")] = 64,
    gpu: Annotated[str, typer.Option(help="h100, h200, a100 ...; `auto` asks nvidia-smi; `cpu`: no GPU.")] = "h100",
    gpus_per_node: Annotated[int, typer.Option(min=1)] = 8,
    gpu_memory: Annotated[float | None, typer.Option(help="Usable GiB of one GPU, if not the data sheet's.")] = None,
    mfu: Annotated[float | None, typer.Option(min=0.01, max=1, help="Assumed share of the bf16 peak.")] = None,
    grace: Annotated[float, typer.Option(min=0, help="Seconds between the signal and the end.")] = 300.0,
    write_gb_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="To the run's folder, all ranks together.")
    ] = None,
    measure_write: Annotated[bool, typer.Option(help="Write 1 GiB to the run's disk and take that speed.")] = False,
    prepared: Annotated[bool, typer.Option(help="Store and plan must be there: exit status 3 otherwise.")] = False,
    as_json: AsJson = False,
) -> None:
    """Estimate memory, time and disk of a run and look for what would fail, before any job holds a GPU.

    Exit status 1 when something will fail; 3 with --prepared when only store or plan are missing.
    """
    config = load_run_config(config_path, overrides or [])
    data = require(config.data, "data", config_path)
    model = require(config.model, "model", config_path)
    from ecot.train.exit_status import EXIT_NOT_PREPARED
    from ecot.train.preflight.examine import Machine, examine
    from ecot.train.preflight.gpus import GB, GIB, find_gpu
    from ecot.train.preflight.speed import DEFAULT_MFU

    machine = Machine(
        gpus=gpus,
        gpu=find_gpu(gpu),
        gpus_per_node=gpus_per_node,
        memory_bytes=int(gpu_memory * GIB) if gpu_memory else None,
        mfu=mfu or DEFAULT_MFU,
        grace_seconds=grace,
        write_bytes_per_second=write_gb_per_second * GB if write_gb_per_second else None,
        measure_write=measure_write,
    )
    result = examine(data, model, config.train, config.paths, config.seed, machine)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)
    if result.failed:
        sys.exit(1)
    if prepared and not result.prepared:
        sys.exit(EXIT_NOT_PREPARED)


def _print(result: Preflight) -> None:
    facts = result.facts
    console.print(
        f"{facts.steps} steps of {facts.packs_per_step} packs of {facts.pack_tokens:,} tokens, "
        f"{'from the plan' if facts.planned else 'estimated: no plan yet'}; {facts.tokens:,} tokens in all, documents "
        f"of {facts.document_tokens:,.0f} tokens (mean over tokens{'' if facts.planned else ', assumed'})"
    )
    if result.memory is not None:
        table = Table(title="memory of a rank, GiB", title_justify="left", box=None, pad_edge=False, show_header=False)
        for name, size in [*result.memory.parts.items(), ("sum", result.memory.total)]:
            table.add_row(name, f"{size / 2**30:.2f}")
        console.print(table)
        if result.memory.host_bytes:
            console.print(f"host memory per rank: {result.memory.host_bytes / 2**30:.1f} GiB (offloaded)")
    if result.speed is not None and result.machine.gpu is not None:
        speed = result.speed
        console.print(
            f"at {speed.mfu:.0%} MFU (assumed; of {result.machine.gpu.bf16_flops / 1e12:.0f} TFLOP/s dense bf16, "
            f"recomputation not counted): {speed.tokens_per_second_per_gpu:,.0f} tokens/s/GPU, "
            f"{speed.seconds_per_step:.1f} s a step, {speed.train_seconds / 3600:.1f} h in all without saves"
        )
    storage = result.storage
    if storage is not None and storage.save_seconds is not None:
        console.print(f"{storage.num_saves} saves add {storage.num_saves * storage.save_seconds / 60:.0f} min")
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in result.findings:
        table.add_row(f"[{_COLOURS[finding.level]}]{finding.level}[/]", finding.name, finding.message)
    console.print(table)
