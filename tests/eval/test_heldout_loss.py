"""The held-out loss against transformers' own logits, one document at a time."""

from collections import defaultdict

import pytest
import torch
from transformers import AutoModelForCausalLM

from ecot.data_mix.store import DocumentStore
from ecot.eval.heldout_loss import pack_documents, score_heldout
from ecot.inference.loading import load_model
from ecot.kernels.attention import NAME as ATTENTION
from ecot.segments import Kind
from ecot.train.config import LossConfig

pytestmark = pytest.mark.xdist_group("eval")  # one worker makes the run that these tests share


def losses_one_by_one(folder, store):
    """(kind, attempt) -> list of (nll, hit), from full logits of each document alone."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    found = defaultdict(list)
    for index in range(len(store)):
        document = store[index]
        ids = torch.from_numpy(document.ids.astype("int64"))
        with torch.no_grad():
            logprobs = model(ids[None], use_cache=False).logits[0].double().log_softmax(-1)
        kinds = [(run.kind, run.attempt) for run in document.runs for _ in range(run.length)]
        for position in range(1, len(ids)):
            row = logprobs[position - 1]
            found[kinds[position]].append((-row[ids[position]].item(), int(row.argmax()) == int(ids[position])))
    return found


def load(folder):
    return load_model(folder, "cpu", ATTENTION, "eval.device")


def mean(values):
    return sum(values) / len(values)


@pytest.mark.parametrize("name", ["fresh", "trained"])
def test_it_is_the_mean_over_tokens_of_each_document_alone(run, exports, name):
    store = DocumentStore.open(run.paths.store / "heldout")
    expected = losses_one_by_one(exports[name], store)
    result = score_heldout(load(exports[name]), store, LossConfig(), 512, pad_id=0)

    assert {(group.kind, group.attempt) for group in result.groups} == {
        (kind.name.lower(), attempt) for kind, attempt in expected if kind is not Kind.PROMPT
    }
    for group in result.groups:
        pairs = expected[Kind[group.kind.upper()], group.attempt]
        assert group.domain == "chip_design"
        assert group.tokens == len(pairs)
        assert group.loss == pytest.approx(mean([nll for nll, _ in pairs]), rel=1e-4, abs=1e-6)
        assert group.accuracy == pytest.approx(mean([hit for _, hit in pairs]), abs=1e-9)

    supervised = [p for (kind, _), pairs in expected.items() if kind in (Kind.THINKING, Kind.ANSWER) for p in pairs]
    assert result.means["loss"] == pytest.approx(mean([nll for nll, _ in supervised]), rel=1e-4, abs=1e-6)
    assert result.means["loss/domain/chip_design"] == pytest.approx(result.means["loss"], rel=1e-6)
    observed = [pair for (kind, _), pairs in expected.items() if kind is Kind.OBSERVATION for pair in pairs]
    assert result.means["loss/observation"] == pytest.approx(mean([nll for nll, _ in observed]), rel=1e-4)
    assert result.means["accuracy/observation"] == pytest.approx(mean([hit for _, hit in observed]), abs=1e-9)
    assert (result.documents, result.tokens) == (len(store), int(store.lengths.sum()))


def test_it_does_not_depend_on_the_packing(run, exports):
    store = DocumentStore.open(run.paths.store / "heldout")
    together = score_heldout(load(exports["fresh"]), store, LossConfig(), 4096, pad_id=0)
    apart = score_heldout(load(exports["fresh"]), store, LossConfig(), int(store.lengths.max()), pad_id=0)
    assert apart.means == pytest.approx(together.means, rel=1e-5)


def test_weights_of_the_run_enter_the_overall_loss_only(run, exports):
    store = DocumentStore.open(run.paths.store / "heldout")
    plain = score_heldout(load(exports["fresh"]), store, LossConfig(), 512, pad_id=0)
    heavy = LossConfig(thinking=3.0, answer=1.0)
    weighted = score_heldout(load(exports["fresh"]), store, heavy, 512, pad_id=0)
    tokens = {kind: sum(g.tokens for g in plain.groups if g.kind == kind) for kind in ("thinking", "answer")}
    total = 3 * tokens["thinking"] * plain.means["loss/thinking"] + tokens["answer"] * plain.means["loss/answer"]
    assert weighted.means["loss"] == pytest.approx(total / (3 * tokens["thinking"] + tokens["answer"]), rel=1e-5)
    del weighted.means["loss"], plain.means["loss"]
    assert weighted.means == pytest.approx(plain.means, rel=1e-6)


def test_rules_of_the_run_enter_the_overall_loss(run, exports):
    store = DocumentStore.open(run.paths.store / "heldout")
    loss = LossConfig.model_validate({"rules": [{"factor": 0, "min_attempt": 2}]})
    result = score_heldout(load(exports["fresh"]), store, loss, 512, pad_id=0)
    first = [g for g in result.groups if g.attempt == 1 and g.kind in ("thinking", "answer")]
    tokens = sum(group.tokens for group in first)
    assert result.means["loss"] == pytest.approx(sum(g.loss * g.tokens for g in first) / tokens, rel=1e-5)
    assert {group.attempt for group in result.groups} == {1, 2}  # the others are measured all the same


def test_every_document_is_in_one_pack(run):
    store = DocumentStore.open(run.paths.store / "heldout")
    packs = pack_documents(store, 512)
    assert sorted(index for pack in packs for index in pack.documents) == list(range(len(store)))
    assert all(pack.tokens == sum(len(store[i]) for i in pack.documents) <= 512 for pack in packs)
