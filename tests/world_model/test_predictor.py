"""Scores of verdicts against the model's own logits, one text at a time."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ecot.inference.loading import load_model
from ecot.outcomes import Domain, Label, Stage
from ecot.world_model.asking import Asker, best, label_scores
from ecot.world_model.environment import Question
from ecot.world_model.local_model import LocalModel
from ecot.world_model.outcome_text import Verdict, read_outcome

pytestmark = pytest.mark.xdist_group("python")  # one worker executes what these tests share

VERDICTS = {
    Domain.GENERAL: (
        Verdict(Label.PASS, "", Stage.CHECK),
        Verdict(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK),
        Verdict(Label.RUNTIME_ERROR, "exception", Stage.RUN),
        Verdict(Label.RUNTIME_ERROR, "", Stage.RUN),
        Verdict(Label.COMPILATION_ERROR, "syntax", Stage.COMPILE),
    )
}


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def predictor(request, world_run, renderer):
    export = world_run[1].export / "1K"
    tokenizer = AutoTokenizer.from_pretrained(export)
    model = load_model(export, "cpu", request.param, "device")
    asker = Asker(renderer(tokenizer), VERDICTS, Question(2000, hidden=True), 4096, max_new_tokens=8)
    return LocalModel(model, asker, tokenizer.pad_token_id, batch_size=4)


def one_by_one(export, predictor, prompt):
    """Each header after the prompt in a pass of its own, in double precision."""
    model = AutoModelForCausalLM.from_pretrained(export, attn_implementation="eager").double()
    found = {}
    for verdict in VERDICTS[Domain.GENERAL]:
        header = predictor.asker.renderer.token_ids(verdict.header)
        ids = torch.tensor([[*prompt.ids, *header]])
        with torch.no_grad():
            logs = model(ids, use_cache=False).logits[0].log_softmax(-1)
        found[verdict] = sum(logs[len(prompt.ids) + k - 1, token].item() for k, token in enumerate(header))
    return found


def test_headers_are_scored_as_if_each_stood_alone(predictor, world_run, tasks):
    """Also where the prompt shares its beginning with the one before, as candidates of one task do."""
    task = tasks["merge_windows"]
    prompts = [predictor.prompt(task, code) for code in (task.reference, task.wrong[0].code, task.reference)]
    for prompt in prompts:
        expected = one_by_one(world_run[1].export / "1K", predictor, prompt)
        assert predictor.score(prompt.ids, VERDICTS[Domain.GENERAL]) == pytest.approx(expected, abs=2e-3)


def test_a_prediction_is_the_likeliest_verdict_in_our_form(predictor, tasks):
    jobs = [(tasks[name], tasks[name].reference) for name in ("rle_row", "merge_windows", "gear_train")]
    prompts = [predictor.prompt(*job) for job in jobs]
    done = []
    predictions = predictor.predict(prompts, done.append)
    assert done == [1, 2, 3]
    for prompt, prediction in zip(prompts, predictions, strict=True):
        alone = predictor.score(prompt.ids, VERDICTS[Domain.GENERAL])
        assert prediction.scores == pytest.approx(alone, abs=2e-3)
        assert prediction.outcome.verdict == best(prediction.scores) in VERDICTS[Domain.GENERAL]
        assert read_outcome(prediction.outcome.verdict.header).verdict == prediction.outcome.verdict
    assert predictor.predict([]) == []


def test_a_label_is_as_likely_as_its_verdicts_together():
    _, mismatch, exception, plain, syntax = VERDICTS[Domain.GENERAL]
    half = math.log(0.5)
    scores = {exception: 2 * half, plain: 2 * half, mismatch: half - 0.01, syntax: 3 * half}
    assert label_scores(scores)[Label.RUNTIME_ERROR] == pytest.approx(half)
    # Two quarters are more than what is a little less than a half; of the two, the first in order.
    assert best(scores) == plain
