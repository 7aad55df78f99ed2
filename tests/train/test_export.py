import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from ecot.errors import CheckpointError, ConfigError
from ecot.train.export import export_milestone

pytestmark = pytest.mark.xdist_group("training")


def test_exported_weights_are_the_trained_ones_and_reload_anywhere(finished, first_export):
    result, folder = first_export
    assert result["max_logit_difference"] == 0.0
    trained = finished.weights("a")
    written = load_file(folder / "model.safetensors")
    assert written.keys() == trained.keys()
    assert all(torch.equal(written[name], trained[name]) for name in trained)
    assert result["parameters"] == sum(tensor.numel() for tensor in trained.values())
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__name__ == "LlamaForCausalLM" and model.config.architectures == ["LlamaForCausalLM"]
    assert model.config.use_cache


def test_the_chat_template_of_training_travels_along(finished, first_export):
    _, folder = first_export
    ours = AutoTokenizer.from_pretrained(finished.paths.tokenizer)
    exported = AutoTokenizer.from_pretrained(folder)
    messages = [
        {"role": "user", "content": "Task"},
        {"role": "assistant", "content": "code", "reasoning_content": "hm"},
        {"role": "tool", "content": "error"},
    ]
    rendered = exported.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == ours.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert "hm" in rendered and "error" in rendered
    stop = AutoModelForCausalLM.from_pretrained(folder).generation_config.eos_token_id
    assert exported.convert_ids_to_tokens(stop) == "<|im_end|>"


def test_a_different_model_is_not_exported_silently(finished, tmp_path, new_run):
    """The reloaded logits are compared with those of the trained model, so a wrong weight cannot slip through."""
    run = new_run("tampered", like=finished)
    other = finished.paths.milestones / "a" / "probe.safetensors"
    target = run.paths.milestones / "b"
    target.joinpath("probe.safetensors").write_bytes(other.read_bytes())
    manifest = json.loads((target / "manifest.json").read_text())
    probe_entry = json.loads((finished.paths.milestones / "a" / "manifest.json").read_text())["files"]
    manifest["files"]["probe.safetensors"] = probe_entry["probe.safetensors"]
    (target / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="the export is not the trained model"):
        export_milestone(run.paths, "b", tmp_path / "b", "auto", sys.executable)
    assert not (tmp_path / "b").exists()


def test_large_models_are_written_in_shards(sharded_export):
    result, folder = sharded_export
    assert len(result["files"]) > 1 and result["max_logit_difference"] == 0.0
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(result["files"])
    for name in result["files"]:
        tensors = load_file(folder / name)
        total = sum(tensor.numel() * 4 for tensor in tensors.values())
        assert total <= 40_000 or len(tensors) == 1


def test_mistakes_are_named(finished, tmp_path, new_run):
    with pytest.raises(CheckpointError, match=r"no milestone 'z'; it has: a, b, c"):
        export_milestone(finished.paths, "z", tmp_path / "z", "auto", sys.executable)
    with pytest.raises(ConfigError, match="dtype 'int4' is not supported; choose one of auto, float32, bfloat16"):
        export_milestone(finished.paths, "a", tmp_path / "z", "int4", sys.executable)
    (tmp_path / "precious").mkdir()
    with pytest.raises(ConfigError, match="is no export of a milestone"):
        export_milestone(finished.paths, "a", tmp_path / "precious", "auto", sys.executable)


def test_only_an_earlier_export_is_ever_replaced(finished, first_export, tmp_path):
    """The first milestone's by the last one's, whose weights are within the rounding of bfloat16."""
    weights = tmp_path / "somebodys"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    for precious in (weights, finished.paths.milestones / "a"):
        with pytest.raises(ConfigError, match="choose another folder"):
            export_milestone(finished.paths, "a", precious, "auto", sys.executable)
        assert (precious / "config.json").is_file()
    ours, (_, before) = tmp_path / "ours", first_export
    shutil.copytree(before, ours)
    (ours / "stale").touch()
    result = export_milestone(finished.paths, "c", ours, "bfloat16", sys.executable)
    assert {path.name for path in ours.iterdir()} == {path.name for path in before.iterdir()}
    assert 0 < result["max_logit_difference"] < 0.2
    assert load_file(ours / "model.safetensors")["lm_head.weight"].dtype == torch.bfloat16
