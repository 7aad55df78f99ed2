"""Training that starts from existing weights, with the options that a large model needs."""

import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from ecot.data_mix.plan import PackPlan
from ecot.data_mix.store import DocumentStore
from ecot.segments import Kind
from ecot.train.export import export_milestone

pytestmark = pytest.mark.xdist_group("training")


def test_weights_from_a_sharded_folder_train_on_under_zero3(finished, sharded_export, new_run, tmp_path):
    """With activation checkpointing, bf16 and collating workers: the first loss is that of the weights loaded."""
    _, base = sharded_export
    run = new_run("pretrained")
    run.train(
        f"model.path={base}",
        "model.shape=null",
        "model.dtype=bfloat16",
        "train.activation_checkpointing=true",
        "train.loader_workers=1",
    )
    plan = PackPlan.open(run.paths.plan)
    rows = run.metrics()
    assert rows[-1]["step"] == plan.num_steps
    assert rows[0]["loss"] == pytest.approx(first_loss(plan, run, base), rel=0.02)
    assert rows[-1]["loss"] < rows[0]["loss"] < finished.metrics()[0]["loss"] - 1
    exported = export_milestone(run.paths, "c", tmp_path / "on", "auto", sys.executable)
    assert exported["dtype"] == "bfloat16"
    whole = export_milestone(run.paths, "c", tmp_path / "masters", "float32", sys.executable)
    assert whole["parameters"] == exported["parameters"]


@torch.no_grad()
def first_loss(plan, run, folder):
    """Weighted loss of the first step's documents, one by one, with nothing but transformers."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    store = DocumentStore.open(run.paths.store / "train")
    weights = {Kind.THINKING: 1.0, Kind.ANSWER: 0.5}
    total = norm = 0.0
    for index in (index for pack in plan.packs(0) for index in pack.documents):
        document = store[index]
        ids = torch.from_numpy(document.ids.astype("int64"))
        kinds = [run.kind for run in document.runs for _ in range(run.length)]
        weight = torch.tensor([weights.get(kind, 0.0) for kind in kinds[1:]])
        nll = torch.nn.functional.cross_entropy(model(ids[None]).logits[0, :-1], ids[1:], reduction="none")
        total += (weight * nll).sum().item()
        norm += weight.sum().item()
    return total / norm
