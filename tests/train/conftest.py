"""Exports of the finished run (tests/conftest.py) that several tests look at, and a larger run that ends badly."""

import sys
from dataclasses import dataclass
from typing import Any

import pytest

from ecot.train import export


@pytest.fixture(scope="session")
def sharded_export(finished, tmp_path_factory):
    """The last milestone in several small files: what was said of it, and its folder."""
    folder = tmp_path_factory.mktemp("sharded") / "c"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "SHARD_BYTES", 40_000)
        return export.export_milestone(finished.paths, "c", folder, "float32", sys.executable), folder


@pytest.fixture(scope="session")
def first_export(finished, tmp_path_factory):
    """The first milestone as it is: what was said of it, and its folder."""
    folder = tmp_path_factory.mktemp("first") / "a"
    return export.export_milestone(finished.paths, "a", folder, "auto", sys.executable), folder


POISON = """
import sys
import ecot.train.feed as feed
collate = feed.RankPacks.__getitem__
def poisoned(self, index):
    inputs = collate(self, index)
    if index // self.accumulation in {steps} and self.rank == 1:
        inputs["weights"] = inputs["weights"] * float("inf")
    return inputs
feed.RankPacks.__getitem__ = poisoned
"""

MEASURE = """
import gc, os
import torch
import ecot.train.callbacks as callbacks
step_end = callbacks.PlanCallback.on_step_end
def measured(self, args, state, control, **kwargs):
    if state.global_step == 2 and state.is_world_process_zero:
        tensors = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor)]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        open(os.environ["MEASURED"], "w").write(str(sum(storages.values())))
    return step_end(self, args, state, control, **kwargs)
callbacks.PlanCallback.on_step_end = measured
"""

MAIN = """
from ecot.cli.main import main
main()
"""


@pytest.fixture(scope="session")
def poison():
    """Makes the script of a rank that runs the command; the second rank's gradients of some steps are infinite."""
    return lambda steps: POISON.format(steps=steps) + MAIN


@dataclass(frozen=True)
class Hopeless:
    """A run that ended because too many of its steps were skipped."""

    run: Any
    held: int
    """Bytes that the first rank held in tensors between two good steps."""
    statuses: list[int]
    printed: str


@pytest.fixture(scope="session")
def hopeless(new_run, tmp_path_factory):
    """Two bf16 ranks share packs. Their states outweigh everything else; from the fourth step on none is finite."""
    run = new_run("hopeless")
    folder = tmp_path_factory.mktemp("measure")
    (folder / "rank.py").write_text(POISON.format(steps=set(range(3, 99))) + MEASURE + MAIN)
    settings = {"hidden_size": 256, "intermediate_size": 1024, "num_layers": 4, "num_heads": 8, "head_dim": 32}
    overrides = [f"model.shape.{name}={value}" for name, value in settings.items()]
    overrides += ["model.dtype=bfloat16", "train.zero.bucket_elements=100000"]
    overrides += ["train.max_skipped=2", "train.sequence_ranks=2"]
    statuses, printed = run.run_script(folder / "rank.py", *overrides, MEASURED=str(folder / "bytes"))
    return Hopeless(run, int((folder / "bytes").read_text()), statuses, printed)
