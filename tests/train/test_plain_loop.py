"""The whole stack against thirty lines of plain PyTorch: same losses, same gradient norms, same weights."""

import json
import math

import pytest
import torch
import yaml
from transformers import AutoTokenizer

from ecot.data_mix.plan import PackPlan
from ecot.data_mix.store import DocumentStore
from ecot.run_paths import RunPaths
from ecot.segments import Kind
from ecot.train.checkpoint import find_damage
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.milestones import read_milestones
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


class PlainLoop:
    """The tiny run in plain PyTorch: one process, no packing, AdamW with two groups."""

    def __init__(self, run):
        settings = yaml.safe_load(run.config.read_text())
        self.plan = PackPlan.open(run.paths.plan)
        self.store = DocumentStore.open(run.paths.store / "train")
        self.config = TrainConfig.model_validate(settings["train"])
        tokenizer = AutoTokenizer.from_pretrained(run.paths.tokenizer)
        model_config = ModelConfig.model_validate(settings["model"] | {"attention": "eager"})
        self.model = build_model(model_config, tokenizer, settings["seed"])
        norms = [p for name, p in self.model.named_parameters() if "norm" in name]
        others = [p for name, p in self.model.named_parameters() if "norm" not in name]
        config = self.config
        groups = [{"params": others, "weight_decay": config.weight_decay}, {"params": norms, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1.0, betas=config.betas, eps=config.epsilon)
        self.weights = {Kind.THINKING: config.loss.thinking, Kind.ANSWER: config.loss.answer}

    def factor(self, step):
        tokens = self.plan.packs_per_step * self.plan.pack_tokens
        return learning_rate_factor(self.config.schedule, step, self.plan.num_steps, tokens)

    def check_step(self, step, factor, row):
        """Make a step (from 0) and compare its loss and gradient norm with a logged row."""
        documents = [self.store[index] for pack in self.plan.packs(step) for index in pack.documents]
        sums = [weighted_nll(self.model, document, self.weights) for document in documents]
        loss = sum(nll for nll, _ in sums) / sum(weight for _, weight in sums)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * factor
        assert row["step"] == step + 1 and math.isclose(row["learning_rate"], group["lr"], rel_tol=1e-6)
        assert math.isclose(row["loss"], loss.item(), rel_tol=1e-4), step
        assert math.isclose(row["grad_norm"], norm.item(), rel_tol=1e-3), step
        self.optimizer.step()
        self.optimizer.zero_grad()

    def check_weights(self, trained):
        for name, parameter in self.model.state_dict().items():
            torch.testing.assert_close(trained[name], parameter, rtol=1e-2, atol=1e-4, msg=name)


def test_two_zero3_ranks_follow_a_plain_loop(finished):
    plain = PlainLoop(finished)
    for step, row in enumerate(finished.metrics()):
        plain.check_step(step, plain.factor(step), row)
    plain.check_weights(finished.weights(plain.plan.budgets[-1].name))


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_branch_decays_from_its_milestone_over_the_data_after_it(branched, name):
    """Also the one that lost a rank and went on."""
    branched, _ = branched
    plain = PlainLoop(branched)
    start = next(budget.last_step for budget in plain.plan.budgets if budget.name == name)
    for step, row in enumerate(branched.metrics()[:start]):
        plain.check_step(step, plain.factor(step), row)
    branch = RunPaths(branched.paths.root / "branches" / name)
    rows = [json.loads(line) for line in branch.metrics.read_text().splitlines()]
    assert [row["tokens"] for row in rows] == [plain.plan.tokens_until(start + k) for k in (1, 2, 3)]
    for offset, factor in enumerate((0.7, 0.4, 0.1)):  # linear from 1 to min_ratio in three steps
        plain.check_step(start + offset, factor, rows[offset])
    plain.check_weights(branched.weights(f"{name}-decayed"))


def test_a_rank_that_is_lost_ends_the_others_and_is_named(branched):
    _, printed = branched
    assert "rank 1 of 2 ended with signal SIGKILL; start again with the same command" in printed


def test_branches_leave_the_run_alone_and_count_as_milestones(finished, branched):
    branched, _ = branched
    for name in ("a", "b", "c"):
        manifests = [(run.paths.milestones / name / "manifest.json").read_bytes() for run in (finished, branched)]
        assert manifests[0] == manifests[1] and find_damage(branched.paths.milestones / name) is None
    assert branched.metrics() == finished.metrics()
    records = {record["name"]: record for record in read_milestones(branched.paths)}
    assert list(records) == ["a", "a-decayed", "b", "b-decayed", "c"]
    decayed, plan = records["a-decayed"], PackPlan.open(branched.paths.plan)
    assert decayed["branch_of"] == "a" and decayed["plan_step"] == records["a"]["plan_step"] + 3
    assert decayed["decay_tokens"] == plan.tokens_until(decayed["plan_step"]) - records["a"]["counts"]["all"]
    assert decayed["learning_rate"] == pytest.approx(1e-3)
