"""The optimizer's state in a ZeRO-3 checkpoint, read by stretches of a parameter, whatever the number of ranks.

DeepSpeed 0.19 cuts each parameter into as many equal pieces as there are ranks (the last one padded) and lays the
pieces of a sub-group end to end: master weights and Adam's moments in `*zero_pp_rank_<r>_mp_rank_00_optim_states.pt`,
names and shapes in the model states of rank 0. The files are mapped, so only what is asked for is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecot.errors import CheckpointError

_RANK = re.compile(r"zero_pp_rank_(\d+)_mp_rank_00_optim_states\.pt$")


class Slot(StrEnum):
    """What is kept for each element of a parameter, all float32."""

    MASTER = "master"
    EXP_AVG = "exp_avg"
    EXP_AVG_SQ = "exp_avg_sq"


@dataclass(frozen=True)
class _Place:
    """Where the pieces of a parameter lie in the sub-group of every rank."""

    sub_group: int
    offset: int
    piece: int
    """Elements of one rank's piece; `ranks * piece` is at least the parameter's size."""
    shape: torch.Size


class ZeroShards:
    """Read access to the shards in a checkpoint folder.

    Raises:
        CheckpointError: files are missing, or are not of a ZeRO-3 run with Adam.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = _step_folder(folder)
        self._ranks = [_load(path)["optimizer_state_dict"] for path in _rank_files(self.folder)]
        header = _load(self.folder / "zero_pp_rank_0_mp_rank_00_model_states.pt")
        self.num_ranks = len(self._ranks)
        self.global_steps: int = header["global_steps"]
        self.skipped_steps: int = header["skipped_steps"]
        self.buffers: dict[str, Tensor] = {name: header["module"][name] for name in header["buffer_names"]}
        if self._ranks[0]["partition_count"] != self.num_ranks:
            raise CheckpointError(
                f"{self.folder}: {self.num_ranks} of the {self._ranks[0]['partition_count']} optim_states files are "
                "there; choose another checkpoint"
            )
        self._places = _places(header["param_shapes"], self.num_ranks)

    def shape(self, name: str) -> torch.Size:
        """The shape of a parameter.

        Raises:
            CheckpointError: the checkpoint has no such parameter.
        """
        return self._place(name).shape

    def step(self, name: str) -> Tensor:
        """Adam's counter of the sub-group that held the parameter: float32, no dimension, a tensor of its own."""
        return self._adam(0, self._place(name).sub_group)["step"].clone()

    def read(self, name: str, slot: Slot, start: int, out: Tensor) -> None:
        """Copy elements `start .. start + len(out)` of the flattened parameter into `out`; zeros beyond its end.

        Args:
            name: a parameter, as in the model's state dict.
            slot: which of its values.
            start: first element.
            out: `[n]` float32, on any device.
        """
        place = self._place(name)
        stop = min(start + len(out), place.shape.numel())
        out[max(0, stop - start) :] = 0
        for rank in range(start // place.piece, math.ceil(stop / place.piece) if stop > start else 0):
            first, last = max(start, rank * place.piece), min(stop, (rank + 1) * place.piece)
            begin = place.offset + first - rank * place.piece
            flat = self._flat(rank, place.sub_group, slot)
            out[first - start : last - start].copy_(flat[begin : begin + last - first])

    def _place(self, name: str) -> _Place:
        if name not in self._places:
            raise CheckpointError(f"{self.folder} has no parameter {name}: it is of another model; use another run_dir")
        return self._places[name]

    def _flat(self, rank: int, sub_group: int, slot: Slot) -> Tensor:
        """One rank's sub-group, end to end."""
        if slot is Slot.MASTER:
            return self._ranks[rank]["fp32_flat_groups"][sub_group].detach()
        return self._adam(rank, sub_group)[slot]

    def _adam(self, rank: int, sub_group: int) -> dict[str, Tensor]:
        return self._ranks[rank]["optimizer_state_dict"]["state"][sub_group]


def _places(param_shapes: Sequence[dict[str, torch.Size]], num_ranks: int) -> dict[str, _Place]:
    places = {}
    for sub_group, shapes in enumerate(param_shapes):
        offset = 0
        for name, shape in shapes.items():
            piece = math.ceil(shape.numel() / num_ranks)
            places[name] = _Place(sub_group, offset, piece, shape)
            offset += piece
    return places


def _step_folder(folder: Path) -> Path:
    try:
        return folder / (folder / "latest").read_text("utf-8").strip()
    except OSError as error:
        raise CheckpointError(f"{folder / 'latest'}: cannot be read ({error}); choose another checkpoint") from error


def _rank_files(folder: Path) -> list[Path]:
    numbered = [(int(found[1]), path) for path in folder.iterdir() if (found := _RANK.search(path.name))]
    if [number for number, _ in sorted(numbered)] != list(range(len(numbered))) or not numbered:
        raise CheckpointError(f"{folder}: the optim_states files of some ranks are missing; choose another checkpoint")
    return [path for _, path in sorted(numbered)]


def _load(path: Path) -> dict[str, Any]:
    # They hold objects of DeepSpeed's; their hashes were checked, so they are this run's own.
    return torch.load(path, map_location="cpu", mmap=True, weights_only=False)
