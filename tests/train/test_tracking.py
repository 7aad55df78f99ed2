"""wandb that cannot be reached: training goes on, and the figures lie on disk."""

from types import SimpleNamespace

from transformers import TrainerControl, TrainerState

from ecot.train.callbacks import MetricsCallback
from ecot.train.config import TrainConfig
from ecot.train.json_rows import read_json_rows


def test_an_unreachable_service_costs_neither_the_run_nor_its_figures(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("WANDB_MODE", raising=False)
    config = TrainConfig.model_validate({"tracking": {"timeout_seconds": 2.0}})
    plan = SimpleNamespace(tokens_until=lambda step: 100 * step)
    metrics = MetricsCallback(tmp_path / "metrics.jsonl", plan, config, "run-1", {"a": 1})
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    metrics.on_train_begin(None, state, control)
    for step in (1, 2):
        state.global_step = step
        metrics.on_log(None, state, control, logs={"loss": 1.0 / step, "learning_rate": 1e-5})
    metrics.on_train_end(None, state, control)
    assert "wandb cannot be reached" in caplog.text and "wandb sync" in caplog.text
    rows = read_json_rows(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["tokens"], row["loss"]) for row in rows] == [(1, 100, 1.0), (2, 200, 0.5)]
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/run-run-1.wandb")
    assert kept.stat().st_size > 0, "for `wandb sync`"
