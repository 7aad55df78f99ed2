"""Stretches of a parameter are read back from shards of any number of ranks."""

import math

import pytest
import torch

from ecot.errors import CheckpointError
from ecot.train.zero_shards import Slot, ZeroShards

SHAPES = [{"embed": (7, 3), "mlp": (5, 2)}, {"norm": (3,), "bias": (1,)}]
"""Two sub-groups; no size divides by all the numbers of ranks below."""
SLOTS = {Slot.MASTER: 0, Slot.EXP_AVG: 1000, Slot.EXP_AVG_SQ: 2000}


def flat(name, slot):
    """The value of every element says which one it is."""
    sizes = {name: math.prod(shape) for group in SHAPES for name, shape in group.items()}
    start = 100 * list(sizes).index(name) + SLOTS[slot]
    return torch.arange(start, start + sizes[name], dtype=torch.float32)


def piece(name, slot, rank, num_ranks):
    values = flat(name, slot)
    size = math.ceil(len(values) / num_ranks)
    return torch.nn.functional.pad(values, (0, size * num_ranks - len(values)), value=-1.0)[rank * size :][:size]


def write(folder, num_ranks):
    target = folder / "global_step9"
    target.mkdir(parents=True)
    (folder / "latest").write_text("global_step9")
    for rank in range(num_ranks):
        ends = {
            slot: [torch.cat([piece(name, slot, rank, num_ranks) for name in group]) for group in SHAPES]
            for slot in Slot
        }
        adam = {
            index: {"step": torch.tensor(float(index)), **{str(s): ends[s][index] for s in list(Slot)[1:]}}
            for index in range(len(SHAPES))
        }
        state = {"partition_count": num_ranks, "fp32_flat_groups": ends[Slot.MASTER]}
        state["optimizer_state_dict"] = {"state": adam}
        name = f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        torch.save({"optimizer_state_dict": state}, target / name)
    header = {"param_shapes": [{n: torch.Size(s) for n, s in group.items()} for group in SHAPES]}
    header |= {"global_steps": 9, "skipped_steps": 1, "buffer_names": [], "module": {}}
    torch.save(header, target / "zero_pp_rank_0_mp_rank_00_model_states.pt")
    return target


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 5, 12])
def test_every_stretch_is_the_parameters_whoever_wrote_it(tmp_path, num_ranks):
    write(tmp_path, num_ranks)
    shards = ZeroShards(tmp_path)
    for slot in Slot:
        for name in ("embed", "mlp", "norm", "bias"):
            values = flat(name, slot)
            padded = torch.nn.functional.pad(values, (0, 9))
            for start in range(len(values) + 3):
                for length in (1, 2, len(values), len(values) + 5):
                    out = torch.full((length,), torch.nan)
                    shards.read(name, slot, start, out)
                    assert torch.equal(out[: len(padded) - start], padded[start : start + length])
                    assert not out[len(padded) - start :].any(), "zeros beyond the end"
    assert (shards.global_steps, shards.skipped_steps) == (9, 1)


def test_each_group_has_a_step_of_its_own(tmp_path):
    write(tmp_path, 2)
    shards = ZeroShards(tmp_path)
    assert [shards.step(name).item() for name in ("embed", "mlp", "norm")] == [0.0, 0.0, 1.0]
    shards.step("embed").add_(5)
    assert shards.step("mlp").item() == 0.0, "adding to one must not reach another"


def test_missing_shards_and_other_models_are_named(tmp_path):
    folder = write(tmp_path, 3)
    with pytest.raises(CheckpointError, match="no parameter head: it is of another model"):
        ZeroShards(tmp_path).shape("head")
    (folder / "bf16_zero_pp_rank_2_mp_rank_00_optim_states.pt").unlink()
    with pytest.raises(CheckpointError, match="2 of the 3 optim_states files"):
        ZeroShards(tmp_path)
    (folder / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").unlink()
    with pytest.raises(CheckpointError, match="of some ranks are missing"):
        ZeroShards(tmp_path)
