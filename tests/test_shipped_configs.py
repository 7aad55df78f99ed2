"""Every shipped configuration of a run loads, and those of the 32B state what they decide."""

from pathlib import Path

import pytest
import yaml

from ecot.cli.run_config import load_run_config
from ecot.config import Config

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
SFT = [path for path in CONFIGS if path.name.startswith("sft_")]
RUN_TIME = {"local_ranks", "local_copy", "rules"}
"""Not hyper-parameters: where and how it runs, and a list that is empty."""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_loads(path):
    config = load_run_config(path, [])
    assert config.name == path.stem


@pytest.mark.parametrize("path", SFT, ids=lambda path: path.stem)
def test_budgets_batch_and_schedule_are_those_of_the_study(path):
    config = load_run_config(path, [])
    assert [budget.tokens for budget in config.data.budgets] == [180_000_000, 360_000_000, 540_000_000]
    packing, schedule = config.data.packing, config.train.schedule
    assert packing.pack_tokens == 32_768
    assert packing.packs_per_step % 64 == 0, "8 nodes of 8 GPUs"
    assert 5e-6 <= config.train.learning_rate <= 5e-5
    assert 0 < schedule.warmup_tokens < schedule.decay_tokens < 180_000_000
    assert config.model.dtype == "bfloat16" and config.train.activation_checkpointing


@pytest.mark.parametrize("path", SFT, ids=lambda path: path.stem)
def test_every_hyper_parameter_is_written_down(path):
    written = yaml.safe_load(path.read_text("utf-8"))
    config = load_run_config(path, [])
    names = "learning_rate betas epsilon weight_decay max_grad_norm max_skipped activation_checkpointing sequence_ranks"
    for name in names.split():
        assert name in written["train"], name
    for name in ("schedule", "loss", "zero", "checkpoint"):
        assert_complete(getattr(config.train, name), written["train"][name])
    assert_complete(config.data.packing, written["data"]["packing"])


def assert_complete(section: Config, written: dict):
    missing = {
        name
        for name, field in type(section).model_fields.items()
        if name not in written and name not in RUN_TIME and getattr(section, name) == field.default
    }
    # A default may go unwritten only where it switches something off.
    assert all(not getattr(section, name) for name in missing), missing
