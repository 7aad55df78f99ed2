"""Packs shared by sequence ranks: the same losses, gradients, weights and figures as with a rank for each pack."""

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer

from ecot.cli.run_config import load_run_config
from ecot.data_mix.batch import Collator, Shard
from ecot.data_mix.plan import PackPlan
from ecot.data_mix.store import DocumentStore
from ecot.segments import Kind
from ecot.train.feed import RankPacks
from ecot.train.layout import find_layout
from ecot.train.model import build_model
from ecot.train.preflight.memory import layer_activations
from ecot.train.preflight.shape import ModelShape
from ecot.train.ulysses import check_stretch

pytestmark = pytest.mark.xdist_group("training")

RANK = Path(__file__).with_name("score_across_ranks.py")


@pytest.fixture(scope="module")
def across():
    """What two ranks found that share packs made for the purpose."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = []
    for rank in range(2):
        environment = dict(os.environ, RANK=str(rank), WORLD_SIZE="2", OMP_NUM_THREADS="1")
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        ranks.append(subprocess.Popen([sys.executable, str(RANK)], env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate(timeout=500)[0] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0]
    return json.loads(outputs[0].splitlines()[-1])


@pytest.mark.parametrize("heads", ["4/4", "4/2", "4/1"])
def test_a_shared_pack_has_the_loss_and_gradients_of_its_documents(across, heads):
    """Documents on both ranks, ranks without a scored row, padding, a filler; heads owned, grouped and shared."""
    cases = dict(across["cases"][heads])
    assert cases.pop("probe")["error"] < 1e-5, "without boundaries a batch is whole on every rank"
    weights = {"crossing": 11.0, "odd": 6.5, "none on the first": 4.0, "none on the second": 5.0, "filler": 0.0}
    rows = {"crossing": 12, "odd": 8, "none on the first": 4, "none on the second": 5, "filler": 0}
    for name, case in cases.items():
        assert math.isclose(case["loss"], case["expected"], rel_tol=1e-5, abs_tol=1e-7), name
        assert case["gradient_error"] < 3e-5, name
        assert case["weights"] == weights[name] and case["rows"] == rows[name], name
    empty = {name: case["ranks_without_rows"] for name, case in cases.items()}
    assert empty == {"crossing": 0, "odd": 0, "none on the first": 1, "none on the second": 1, "filler": 2}


def test_what_a_layer_saves_across_ranks_is_what_autograd_keeps(across):
    stretch = 512
    shape = ModelShape(64, 256, 1024, 2, 8, 2, 32, 2048, False)
    # The rest are one fp32 number per token and norm.
    assert across["saved"] - layer_activations(shape, 2, stretch, 2) == 2 * 4 * stretch


def test_positions_of_another_stretch_are_refused():
    bounds = torch.tensor([0, 3, 8], dtype=torch.int32)
    positions = torch.tensor([[0, 1, 2, 0], [1, 2, 3, 4]])
    check_stretch(positions[:1], bounds, 0)
    check_stretch(positions[1:], bounds, 1)
    with pytest.raises(RuntimeError, match="not those of this rank's stretch"):
        check_stretch(positions[:1], bounds, 1)


def test_two_sequence_ranks_follow_two_data_ranks(shared, finished):
    """1 x 2 (data x sequence ranks) with 4 packs accumulated against 2 x 1 with 2."""
    run, printed = shared
    assert "4 packs a step = 1 data rank x 4 accumulated, 2 sequence ranks each" in printed
    run.assert_follows(finished, rtol=1e-5)
    rows, expected = run.metrics(), finished.metrics()
    for name in ("tokens", "padding_share", "accuracy/thinking", "loss/domain/chip_design", "loss/attempt/1"):
        assert [row[name] for row in rows] == pytest.approx([row[name] for row in expected], rel=1e-4), name
    for milestone in ("a", "c"):
        run.assert_weights_follow(finished, milestone)
        records = [json.loads((r.paths.milestones / milestone / "milestone.json").read_text()) for r in (run, finished)]
        assert records[0]["counts"] == records[1]["counts"]


def test_the_packs_of_that_run_were_worth_comparing(finished):
    """Several documents a pack, one of them on both ranks, an odd number of tokens, a filler."""
    plan = PackPlan.open(finished.paths.plan)
    store = DocumentStore.open(finished.paths.store / "train")
    packs = [pack for step in range(plan.num_steps) for pack in plan.packs(step)]
    assert any(pack.is_filler for pack in packs) and any(pack.tokens % 2 for pack in packs)
    collator = Collator(store, {Kind.THINKING: 1.0}, pad_id=0, shard=Shard(0, 2))
    several = [collator(pack) for pack in packs if len(pack.documents) > 1]
    middles = [batch.input_ids.numel() for batch in several]
    assert any(middle not in batch.cu_seqlens.tolist() for middle, batch in zip(middles, several, strict=True))


def test_held_out_documents_count_once(shared):
    """The loss logged at a milestone, against the milestone's own weights and one document at a time."""
    run, _ = shared
    plan, store = PackPlan.open(run.paths.plan), DocumentStore.open(run.paths.store / "heldout")
    settings = load_run_config(run.config, ["model.attention=eager"])
    model = build_model(settings.model, AutoTokenizer.from_pretrained(run.paths.tokenizer), 0)
    model.load_state_dict(run.weights("b"))
    step = next(budget.last_step for budget in plan.budgets if budget.name == "b")
    row = next(row for row in run.metrics() if row["step"] == step)
    losses = []
    for document in (store[index] for index in range(len(store.lengths))):
        ids = torch.from_numpy(document.ids.astype("int64"))
        kinds = torch.tensor([piece.kind for piece in document.runs for _ in range(piece.length)])
        with torch.no_grad():
            nll = cross_entropy(model(ids[None]).logits[0, :-1], ids[1:], reduction="none")
        losses.append(nll[kinds[1:] == Kind.THINKING])
    assert row["heldout/loss/thinking"] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-4)


@pytest.mark.parametrize("expand", ["host", "device"])
def test_ranks_of_two_groups_hold_every_token_and_weight_of_a_step_once(new_run, expand):
    run = new_run(f"feed_{expand}")
    plan, store = PackPlan.open(run.paths.plan), DocumentStore.open(run.paths.store / "train")
    weights = {Kind.THINKING: 1.0, Kind.ANSWER: 0.5}
    layout = find_layout(4, 2, plan.packs_per_step, plan.pack_tokens)
    ranks = []
    for rank in range(4):
        collator = Collator(store, weights, pad_id=0, shard=Shard(rank % 2, 2))
        ranks.append(RankPacks(plan, collator, layout, rank, on_device=expand == "device"))
    whole = Collator(store, weights, pad_id=0)
    for step in (0, plan.num_steps - 1):
        expected = [whole(pack) for pack in plan.packs(step)]
        found = [[feed[step * layout.accumulation + turn] for feed in ranks] for turn in range(layout.accumulation)]
        total = sum(item["weight_sum"] for items in found for item in items)
        assert total == pytest.approx(sum(batch.weight_sum for batch in expected))
        if expand == "host":
            pairs = [items[first : first + 2] for items in found for first in (0, 2)]
            for (left, right), batch in zip(pairs, expected, strict=True):
                tokens = torch.cat([left["input_ids"], right["input_ids"]], dim=1)
                assert torch.equal(tokens[:, : batch.tokens], batch.input_ids[:, : batch.tokens])
                assert len(left["labels"]) + len(right["labels"]) == len(batch.labels)


@pytest.mark.drill
def test_four_ranks_in_two_groups_follow_two_data_ranks_and_back(finished, new_run):
    run = new_run("two_groups")
    printed = run.train("train.local_ranks=4", "train.sequence_ranks=2")
    assert "4 packs a step = 2 data ranks x 2 accumulated, 2 sequence ranks each" in printed
    run.assert_follows(finished, rtol=1e-5)
    back = new_run("back")
    back.start_from(run, "a")
    back.train("train.local_ranks=4", "train.sequence_ranks=4")  # two ranks share each key and value head
    back.assert_follows(finished, rtol=1e-5)
