"""What `ecot preflight` says of good and of contradictory runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

from ecot.cli.main import app
from ecot.cli.run_config import load_run_config
from ecot.data_mix.plan import PackPlan
from ecot.data_mix.store import DocumentStore
from ecot.run_paths import RunPaths
from ecot.train.preflight.examine import Machine, examine
from ecot.train.preflight.findings import Level
from ecot.train.preflight.gpus import GPUS, find_gpu, name_of
from ecot.train.preflight.shape import shape_from_weights
from ecot.train.preflight.speed import flops_per_token
from ecot.train.preflight.storage import measure_write

pytestmark = pytest.mark.xdist_group("training_alone")  # of what needs no finished run

SFT_32B = Path(__file__).parents[2] / "configs" / "sft_32b.yaml"


def look(config_path, overrides=(), root=None, **machine):
    config = load_run_config(config_path, list(overrides))
    paths = RunPaths(root) if root else config.paths
    values = {"gpus": 64, "gpu": GPUS["h100"], **machine}
    return examine(config.data, config.model, config.train, paths, config.seed, Machine(**values))


def levels(result):
    return {finding.name: finding.level for finding in result.findings}


def messages(result, name):
    return " ".join(finding.message for finding in result.findings if finding.name == name)


def preflight(*arguments):
    return CliRunner().invoke(app, ["preflight", *map(str, arguments)])


def test_the_32b_fits_64_gpus_and_not_8(tmp_path):
    result = look(SFT_32B, root=tmp_path)
    assert levels(result)["memory"] is Level.OK and levels(result)["ranks"] is Level.OK
    assert result.facts.steps in range(258, 265)  # 540M / 2,097,152 = 257.5, and each budget ends a step
    assert levels(look(SFT_32B, root=tmp_path, gpus=8))["memory"] is Level.FAILURE
    without = look(SFT_32B, ["train.activation_checkpointing=false"], root=tmp_path)
    assert levels(without)["memory"] is Level.FAILURE
    assert "train.activation_checkpointing: true" in messages(without, "memory")


def test_states_shrink_with_ranks_and_activations_with_packs(tmp_path):
    base = look(SFT_32B, root=tmp_path).memory.parts
    half = look(SFT_32B, root=tmp_path, gpus=32).memory.parts
    short = look(SFT_32B, ["data.packing.pack_tokens=16384"], root=tmp_path).memory.parts
    for name in ("weights", "optimizer states", "gradients"):
        assert half[name] == pytest.approx(2 * base[name], rel=1e-6)
        assert short[name] == base[name]
    assert base["kept activations"] == half["kept activations"] == 2 * short["kept activations"]
    # 2 of weights, 12 of optimizer, 4 of gradients, 4 of their working copy
    parameters = look(SFT_32B, root=tmp_path).shape.parameters
    states = sum(base[name] for name in ("weights", "optimizer states", "gradients"))
    assert states == pytest.approx(22 * parameters / 64, rel=1e-6)


def test_sequence_ranks_share_activations_and_not_states(tmp_path):
    long = ["data.packing.pack_tokens=131072"]
    alone = look(SFT_32B, long, root=tmp_path)
    shared = look(SFT_32B, [*long, "train.sequence_ranks=4"], root=tmp_path)
    assert levels(alone)["ranks"] is Level.FAILURE, "16 packs, 64 data ranks"
    assert "or train.sequence_ranks: 4" in messages(alone, "ranks")
    assert messages(shared, "ranks") == "16 packs a step = 16 data ranks x 1 accumulated, 4 sequence ranks each"
    assert (shared.layout.data_ranks, shared.layout.accumulation) == (16, 1)
    parts, whole = shared.memory.parts, alone.memory.parts
    for name in ("weights", "optimizer states", "gradients", "gathered layers", "reduction buffers"):
        assert parts[name] == whole[name]
    for name in ("kept activations", "backward of one layer"):
        assert parts[name] == whole[name] / 4
    # bf16 q, k, v of 40 + 2 x 8 heads of 128, sent and received; beyond its share a layer keeps its output twice
    assert parts["exchange of heads"] == 2 * 2 * 131_072 // 4 * 56 * 128
    more = 2 * 131_072 // 4 * 40 * 128
    assert parts["one layer's activations"] == whole["one layer's activations"] / 4 + more
    assert levels(alone)["memory"] is Level.FAILURE and levels(shared)["memory"] is Level.OK
    # forward, again, and backward, in 64 layers: q, k, v there and the output back, but for a rank's own quarter
    moved = 3 * 64 * 2 * (56 + 40) * 128 * 131_072 / 4 * 0.75
    assert alone.speed is None and shared.speed.exchange_seconds_per_pack == pytest.approx(moved / 450e9)
    assert "hidden behind it; besides, its sequence ranks exchange heads for 0.26 s" in messages(shared, "network")
    # the same GPUs at the same MFU work off the same tokens, but for what the exchange takes
    base = look(SFT_32B, root=tmp_path).speed
    fours = look(SFT_32B, ["train.sequence_ranks=4"], root=tmp_path).speed
    busy = max(fours.compute_seconds_per_pack, fours.communication_seconds_per_pack) + fours.exchange_seconds_per_pack
    assert fours.seconds_per_step == pytest.approx(4 * busy)
    assert 4 * fours.compute_seconds_per_pack == pytest.approx(base.compute_seconds_per_pack)
    assert base.exchange_seconds_per_pack == 0


@pytest.mark.parametrize(
    ("name", "overrides", "says"),
    [
        ("ranks", ["train.sequence_ranks=40"], "64 ranks do not divide"),
        ("ranks", ["data.packing.global_batch_tokens=1572864"], "multiple of 2,097,152"),
        ("schedule", ["train.schedule.warmup_tokens=500000000"], "shorten"),
        ("positions", ["model.expect.max_position_embeddings=16384"], "lower data.packing.pack_tokens"),
        ("weights", ["model.path=/nowhere"], "no config.json"),
        ("tokenizer", ["data.tokenizer.path=/nowhere"], "no folder"),
        ("data", ["data.sources=[{path: /nowhere.jsonl}]"], "no such file"),
    ],
)
def test_a_contradiction_is_a_failure_that_names_the_remedy(name, overrides, says, tmp_path):
    result = look(SFT_32B, overrides, root=tmp_path)
    assert levels(result)[name] is Level.FAILURE and result.failed
    assert says in messages(result, name)


def test_sequence_groups_on_two_nodes_are_told(tmp_path):
    found = look(SFT_32B, ["train.sequence_ranks=4"], root=tmp_path, gpus_per_node=6)
    assert levels(found)["ranks"] is Level.WARNING and "between nodes of 6 GPUs" in messages(found, "ranks")


def test_heads_of_the_weights_must_suit_the_sequence_ranks(tmp_path):
    weights = tmp_path / "weights"
    LlamaConfig(num_attention_heads=32, num_key_value_heads=6).save_pretrained(weights)
    overrides = [f"model.path={weights}", "model.expect=null", "train.sequence_ranks=4"]
    assert "allowed for this model: 1, 2" in messages(look(SFT_32B, overrides, root=tmp_path), "heads")


def test_weights_of_another_shape_are_refused(tmp_path):
    weights = tmp_path / "weights"
    LlamaConfig(vocab_size=32_000, hidden_size=4096).save_pretrained(weights)
    result = look(SFT_32B, [f"model.path={weights}"], root=tmp_path)
    assert levels(result)["weights"] is Level.FAILURE
    assert "vocabulary 32000 instead of 76800" in messages(result, "weights")


def test_a_save_must_fit_the_grace_time(tmp_path):
    gb = 10**9
    slow = look(SFT_32B, root=tmp_path, write_bytes_per_second=1.0 * gb)
    assert levels(slow)["grace"] is Level.FAILURE
    fast = look(SFT_32B, root=tmp_path, write_bytes_per_second=5.0 * gb)
    assert levels(fast)["grace"] is Level.OK
    # 12 bytes per parameter: about 384 GB
    assert fast.storage.checkpoint_bytes == pytest.approx(384e9, rel=0.01)
    assert fast.storage.save_seconds == pytest.approx(384 / 5 + 384 / 64, rel=0.01)
    assert levels(look(SFT_32B, root=tmp_path))["grace"] is Level.WARNING
    # every 50 of about 260 steps, three milestones, two decayed ones
    assert fast.storage.num_saves == 10
    hopeless = look(SFT_32B, root=tmp_path, grace_seconds=20.0, write_bytes_per_second=1000.0 * gb)
    assert levels(hopeless)["grace"] is Level.FAILURE and hopeless.storage.needed_bytes_per_second is None


def test_flops_are_those_that_torch_counts(tmp_path):
    config = LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=False, attn_implementation="eager",
    )  # fmt: skip
    tokens = 128
    model = LlamaForCausalLM(config)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False).logits.sum().backward()
    config.save_pretrained(tmp_path)
    shape = shape_from_weights(tmp_path)
    counted = {str(operator): flops for operator, flops in counter.get_flop_counts()["Global"].items()}
    assert counted.pop("aten.mm") == tokens * 6 * shape.multiplied_parameters
    # Plain attention multiplies the whole square, of which a causal one needs half.
    assert counted == {"aten.bmm": 2 * tokens * (flops_per_token(shape, tokens) - 6 * shape.multiplied_parameters)}


def test_a_planned_run_is_examined_by_its_plan(new_run):
    run = new_run("preflight")
    result = look(run.config, root=run.paths.root, gpus=2, gpu=None)
    plan, store = PackPlan.open(run.paths.plan), DocumentStore.open(run.paths.store / "train")
    assert result.prepared and not result.failed
    assert result.facts.steps == plan.num_steps and result.facts.tokens == plan.budgets[-1].planned
    taken = [i for step in range(plan.num_steps) for pack in plan.packs(step) for i in pack.documents]
    lengths = np.array([store.lengths[i] for i in taken], dtype=float)
    assert result.facts.document_tokens == pytest.approx((lengths**2).sum() / lengths.sum())
    assert result.memory is None and result.speed is None, "no GPU, no estimate"


def test_exit_statuses_and_json(new_run):
    run = new_run("statuses")
    arguments = [run.config, f"run_dir={run.paths.root}", "--gpu", "cpu", "--prepared", "--json"]
    good = preflight(*arguments, "--gpus", 2)
    assert good.exit_code == 0, good.output
    values = json.loads(good.output)
    assert values["prepared"] and not values["failed"] and values["facts"]["planned"]
    changed = preflight(*arguments, "data.packing.global_batch_tokens=4096", "--gpus", 2)
    assert changed.exit_code == 3, "the plan of another batch size is none"
    assert preflight(*arguments, "--gpus", 3).exit_code == 1
    assert preflight(run.config, f"run_dir={run.paths.root}", "--gpu", "h9").exit_code != 0


def test_gpus_are_found_by_what_nvidia_smi_calls_them():
    assert name_of("NVIDIA H100 80GB HBM3", " 81559") == "h100"
    assert name_of("NVIDIA A100-SXM4-80GB", " 81920") == "a100"
    assert name_of("NVIDIA A100-SXM4-40GB", " 40960") == "a100-40"
    assert name_of("NVIDIA H200", " 143771") == "h200"
    assert find_gpu("cpu") is None and find_gpu("H100") is GPUS["h100"]
    with pytest.raises(ValueError, match="known are"):
        find_gpu("abacus")


def test_the_disk_is_measured_by_writing(tmp_path):
    assert 1e5 < measure_write(tmp_path / "not" / "there", size=2**24) < 1e12
    assert list(tmp_path.iterdir()) == []
