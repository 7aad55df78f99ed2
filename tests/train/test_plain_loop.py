"""The whole stack against thirty lines of plain PyTorch: same losses, same gradient norms, same weights."""

import math

import pytest
import torch
import yaml
from transformers import AutoTokenizer

from ecot.data_mix.plan import PackPlan
from ecot.data_mix.store import DocumentStore
from ecot.segments import Kind
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.model import build_model
from ecot.train.schedule import learning_rate_factor

pytestmark = pytest.mark.xdist_group("training")


def weighted_nll(model, document, weights):
    """One document alone: full logits, plain cross-entropy, each token weighted by its own kind."""
    ids = torch.from_numpy(document.ids.astype("int64"))
    kinds = [run.kind for run in document.runs for _ in range(run.length)]
    weight = torch.tensor([weights.get(kind, 0.0) for kind in kinds[1:]])
    logits = model(ids[None]).logits[0, :-1]
    nll = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    return (weight * nll).sum(), weight.sum()


def test_two_zero3_ranks_follow_a_plain_loop(finished):
    settings = yaml.safe_load(finished.config.read_text())
    plan = PackPlan.open(finished.paths.plan)
    store = DocumentStore.open(finished.paths.store / "train")
    tokenizer = AutoTokenizer.from_pretrained(finished.paths.tokenizer)
    config = TrainConfig.model_validate(settings["train"])
    model_config = ModelConfig.model_validate(settings["model"] | {"attention": "eager"})
    model = build_model(model_config, tokenizer, settings["seed"])
    norms = [p for name, p in model.named_parameters() if "norm" in name]
    others = [p for name, p in model.named_parameters() if "norm" not in name]
    groups = [{"params": others, "weight_decay": config.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.epsilon)
    weights = {Kind.THINKING: config.loss.thinking, Kind.ANSWER: config.loss.answer}
    tokens = plan.packs_per_step * plan.pack_tokens
    for step, row in enumerate(finished.metrics()):
        documents = [store[index] for pack in plan.packs(step) for index in pack.documents]
        sums = [weighted_nll(model, document, weights) for document in documents]
        loss = sum(nll for nll, _ in sums) / sum(weight for _, weight in sums)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        for group in optimizer.param_groups:
            factor = learning_rate_factor(config.schedule, step, plan.num_steps, tokens)
            group["lr"] = config.learning_rate * factor
        assert math.isclose(row["loss"], loss.item(), rel_tol=1e-4), step
        assert math.isclose(row["grad_norm"], norm.item(), rel_tol=1e-3), step
        optimizer.step()
        optimizer.zero_grad()
    trained = finished.weights(plan.budgets[-1].name)
    for name, parameter in model.state_dict().items():
        torch.testing.assert_close(trained[name], parameter, rtol=1e-2, atol=1e-4, msg=name)
