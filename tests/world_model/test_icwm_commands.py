"""`ecot icwm` as a user types it."""

import json
import shutil

import pytest
import yaml
from typer.testing import CliRunner

from ecot.cli.main import app
from ecot.errors import ConfigError
from ecot.outcomes import Label, Source
from ecot.run_paths import RunPaths
from ecot.trajectory_io import read_trajectories, write_trajectories

pytestmark = pytest.mark.xdist_group("python")

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def config(world_run, tmp_path_factory):
    section, paths = world_run
    root = tmp_path_factory.mktemp("commands")
    shutil.copytree(paths.export, root / "run" / "export")
    world_model = section.model_dump(mode="json", exclude_defaults=True)
    data = {
        "tokenizer": {"train": {"vocab_size": 600}},
        "budgets": [{"name": "1K", "tokens": 1000}],
        "packing": {"pack_tokens": 1024, "global_batch_tokens": 1024},
    }
    values = {"name": "world", "run_dir": str(root / "run"), "data": data, "world_model": world_model}
    (root / "world.yaml").write_text(yaml.safe_dump(values))
    return root / "world.yaml"


def run(*words):
    done = RUNNER.invoke(app, ["icwm", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_pairs_evaluate_audit(config, trajectories, tmp_path):
    paths = RunPaths(config.parent / "run")
    made = json.loads(run("pairs", config, "--json"))
    count = sum(len(row.attempts) for row in trajectories)
    assert sum(sum(part.values()) for part in made["pairs"].values()) == count
    assert "PASS" in run("pairs", config) and len(list(read_trajectories(paths.trajectories / "train.parquet")))

    told = run("evaluate", config)
    figures = json.loads((paths.eval / "icwm-1K.json").read_text())
    accuracy = figures["fidelity"]["overall"]["accuracy"]
    assert accuracy["trials"] == sum(made["pairs"]["heldout"].values())
    assert f"{accuracy['value']:.1%}" in told and "always" in told  # random weights are trusted nowhere

    row = trajectories[0]
    attempts = [type(a)(**{**vars(a), "source": Source.ICWM, "fingerprint": "model"}) for a in row.attempts]
    attempts[-1] = type(attempts[-1])(**{**vars(attempts[-1]), "label": Label.RUNTIME_ERROR})
    predicted = type(row)(**{**vars(row), "attempts": tuple(attempts), "verdict": Label.RUNTIME_ERROR})
    write_trajectories(tmp_path / "icwm.jsonl", [predicted])
    everything = ["world_model.audit.random_share=1"]
    told = run("audit", config, "-t", tmp_path / "icwm.jsonl", *everything)
    assert f"{len(attempts)} of {len(attempts)} predicted turns executed, 1 wrong" in told
    assert "0 verified, 1 refuted, 0 unverified" in told


def test_a_run_that_would_learn_nothing_is_refused(config):
    with pytest.raises(ConfigError, match="would learn nothing"):
        RUNNER.invoke(app, ["icwm", "train", str(config)], catch_exceptions=False)


def test_synthesis_does_not_replace_the_pairs(config, tmp_path):
    values = yaml.safe_load(config.read_text()) | {
        "synthesis": {"tasks": "builtin:chip_design"},
        "run_dir": str(tmp_path),
    }
    (tmp_path / "trajectories").mkdir()
    (tmp_path / "trajectories" / "pairs.json").write_text("{}")
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match="holds the pairs of a world model"):
        RUNNER.invoke(app, ["synth", str(tmp_path / "both.yaml")], catch_exceptions=False)
