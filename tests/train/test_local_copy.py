"""Copies on a node's own disk: complete or absent, and read instead of the shared folders."""

from ecot.run_paths import RunPaths
from ecot.train.config import ModelConfig
from ecot.train.local_copy import copy_to, nearest, nearest_weights


def make_run(folder):
    paths = RunPaths(folder / "run")
    for name, text in (("store/train/a", "documents"), ("plan/plan.json", "plan")):
        (paths.root / name).parent.mkdir(parents=True)
        (paths.root / name).write_text(text)
    weights = folder / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    return paths, ModelConfig(path=str(weights))


def test_a_copy_is_read_instead_of_the_original(tmp_path):
    paths, model = make_run(tmp_path)
    local = tmp_path / "local"
    assert nearest(None, paths.plan) == nearest(local, paths.plan) == paths.plan
    assert nearest_weights(local, model) == model
    assert {folder.name for folder in copy_to(local, paths, model)} == {"store", "plan", "model"}
    assert nearest(local, paths.plan) == local / "plan"
    assert (nearest(local, paths.store) / "train" / "a").read_text() == "documents"
    assert nearest_weights(local, model).path == str(local / "model")


def test_a_second_attempt_copies_only_what_is_not_complete(tmp_path):
    paths, model = make_run(tmp_path)
    local = tmp_path / "local"
    copy_to(local, paths, model)
    assert copy_to(local, paths, model) == []
    (local / "plan").rename(local / ".plan.tmp")  # as a kill in the middle leaves it
    (local / ".plan.tmp" / "plan.json").unlink()
    assert copy_to(local, paths, model) == [local / "plan"]
    assert (local / "plan" / "plan.json").read_text() == "plan"


def test_a_fresh_model_has_no_weights_to_copy(tmp_path):
    paths, _ = make_run(tmp_path)
    copy_to(tmp_path / "local", paths, ModelConfig.model_validate({"shape": {}}))
    assert not (tmp_path / "local" / "model").exists()
