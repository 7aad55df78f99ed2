"""Put a checkpoint's state into a fresh ZeRO-3 engine, at the number of ranks that wrote it or at any other.

DeepSpeed 0.19 refuses another number of ranks, and its universal checkpoint resumes wrongly under ZeRO-3: one `step`
tensor is shared by all sub-groups (so it advances once per sub-group and step), and the hyper-parameters of the first
group are copied over the others. Here each rank reads the stretches that it owns, parameter by parameter, from mapped
files, so that no rank holds more than its own share. The same code restores at the same number of ranks, bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ecot.errors import CheckpointError
from ecot.train.zero_shards import Slot, ZeroShards


def restore_engine(engine: Any, folder: Path) -> None:
    """Load master weights, Adam's moments and counters: a collective call of all ranks.

    Args:
        engine: a DeepSpeed engine with ZeRO stage 3 and torch's AdamW, that has made no step.
        folder: the checkpoint, whose files were verified.

    Raises:
        CheckpointError: the checkpoint is of another model, or incomplete.
    """
    shards, zero = ZeroShards(folder), engine.optimizer
    zero.checkpoint_event_prologue()
    for index, parameters in enumerate(zero.fp16_groups):
        names = [engine.param_names[parameter] for parameter in parameters]
        _check_shapes(shards, names, parameters, folder)
        _restore_sub_group(zero, index, names, shards)
    for name, buffer in engine.module.named_buffers():
        if name in shards.buffers:
            buffer.data.copy_(shards.buffers[name])
    if zero.persistent_parameters:  # small ones, gathered all the time: they must be gathered anew
        zero.persistent_parameters[0].partition(zero.persistent_parameters)
    zero.checkpoint_event_epilogue()
    engine.global_steps, engine.skipped_steps = shards.global_steps, shards.skipped_steps
    engine.global_samples = engine.global_steps * engine.train_batch_size()


def _restore_sub_group(zero: Any, index: int, names: list[str], shards: ZeroShards) -> None:
    """One stretch of the optimizer: parameters that are stepped together, end to end as DeepSpeed lays them out."""
    master = zero.fp32_partitioned_groups_flat[index]
    state = {slot: torch.zeros_like(master.data) for slot in (Slot.EXP_AVG, Slot.EXP_AVG_SQ)}
    offset = 0
    for name, piece in zip(names, zero.fp16_partitioned_groups[index], strict=True):
        start = piece.ds_numel * dist.get_rank()
        for slot, flat in ((Slot.MASTER, master.data), *state.items()):
            shards.read(name, slot, start, flat.narrow(0, offset, piece.ds_numel))
        offset += piece.ds_numel
    group = zero.optimizer.param_groups[zero.sub_group_to_group_id[index]]
    zero.optimizer.state[master] = {
        "step": _shared_step(names, shards).to(master.device if group["fused"] else "cpu"),
        **{str(slot): flat for slot, flat in state.items()},
    }
    zero.fp16_partitioned_groups_flat[index].data.copy_(master.data)
    flat_pieces = zero.unflatten(zero.fp16_partitioned_groups_flat[index], zero.fp16_partitioned_groups[index])
    for piece, values in zip(zero.fp16_partitioned_groups[index], flat_pieces, strict=True):
        piece.data = values.data


def _shared_step(names: list[str], shards: ZeroShards) -> Tensor:
    """The counter of parameters that are now stepped together; sub-groups change with the number of ranks."""
    steps = {float(shards.step(name)) for name in names}
    assert len(steps) == 1, f"parameters of one group have made different numbers of steps: {sorted(steps)}"
    return shards.step(names[0])


def _check_shapes(shards: ZeroShards, names: list[str], parameters: list[Any], folder: Path) -> None:
    for name, parameter in zip(names, parameters, strict=True):
        if shards.shape(name) != parameter.ds_shape:
            raise CheckpointError(
                f"{folder}: {name} has shape {tuple(shards.shape(name))}, the model {tuple(parameter.ds_shape)}; "
                "use the model and tokenizer of the checkpoint, or another run_dir"
            )
