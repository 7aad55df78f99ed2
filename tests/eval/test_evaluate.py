"""What a model that knows its trajectories by heart writes is what it learned, and runs for real."""

import json
import shutil
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from ecot.data_mix.config import Form
from ecot.data_mix.rendering import Renderer
from ecot.errors import CheckpointError, ConfigError
from ecot.eval.config import EvalConfig
from ecot.eval.evaluate import Evaluation
from ecot.eval.results import completions_path, read_result, read_results, result_path
from ecot.rates import wilson_interval
from ecot.run_paths import RunPaths
from ecot.synthesis import router
from ecot.train.config import LossConfig
from ecot.trajectories import Role
from ecot.trajectory_io import read_trajectories

pytestmark = pytest.mark.xdist_group("eval")  # one worker makes the run that these tests share


def evaluation(run, tasks, backend, **settings):
    config = EvalConfig.model_validate({"max_new_tokens": 160, "device": "cpu", **settings})
    return Evaluation(config, run.data, LossConfig(), run.paths, tasks, backend, command="ecot eval small.yaml")


@pytest.fixture(scope="module")
def results(run, exports, tasks, backend):
    return evaluation(run, tasks, backend, max_corrections=1).run()


def test_results_are_in_the_order_of_training(results):
    assert [(result.milestone, result.trained_tokens) for result in results] == [("fresh", 1000), ("trained", 2000)]


def test_a_model_that_knows_the_answers_gives_them_and_they_are_executed(results, trajectories):
    figures = results[1].completions
    first, second = figures.attempts
    assert first.labels == {"PASS": 1, "COMPILATION_ERROR": 1, "FUNCTIONAL_MISMATCH": 1}
    assert second.labels == {"PASS": 1, "FUNCTIONAL_MISMATCH": 1}
    assert (first.passed_by_now.successes, second.passed_by_now.successes) == (1, 2)
    assert (second.passed_by_now.low, second.passed_by_now.high) == wilson_interval(2, 3)
    assert figures.verdicts == {"PASS": 2, "FUNCTIONAL_MISMATCH": 1}
    assert figures.pass_at == {"1": pytest.approx(1 / 3)}
    assert (figures.tasks, figures.samples, figures.cut_off, figures.out_of_room) == (3, 1, 0, 0)
    assert results[1].heldout.means["loss/thinking"] < 0.05


def test_conversations_equal_those_learned_by_heart(results, run, trajectories):
    """Prompts, parsing, execution and feedback together: nothing differs between training and evaluation."""
    found = {t.task_id: t for t in read_trajectories(completions_path(run.paths, "trained"))}
    for learned in trajectories:
        own = found[learned.task_id]
        assert own.messages == learned.messages
        assert [attempt.label for attempt in own.attempts] == [attempt.label for attempt in learned.attempts]
        assert [attempt.code for attempt in own.attempts] == [attempt.code for attempt in learned.attempts]


def test_prompts_are_the_tokens_that_training_saw(results, run, exports, trajectories):
    tokenizer = AutoTokenizer.from_pretrained(exports["trained"])
    renderer = Renderer(tokenizer, run.data.observation_role, run.data.past_thinking)
    found = {t.task_id: t for t in read_trajectories(completions_path(run.paths, "trained"))}
    for learned in trajectories:
        (encoded,) = renderer.encode([renderer.render(learned.messages)])
        trained_ids, position = encoded.ids.tolist(), 0
        for index, message in enumerate(learned.messages):
            if message.role is not Role.ASSISTANT:
                continue
            prompt = renderer.token_ids(renderer.generation_prompt(learned.messages[:index]))
            assert prompt == trained_ids[: len(prompt)]
            turn = found[learned.task_id].provenance.details["turns"][position]
            assert turn["prompt_tokens"] == len(prompt)
            assert turn["text"] == tokenizer.decode(trained_ids[len(prompt) : len(prompt) + turn["tokens"]])
            position += 1


def test_an_untrained_model_gives_no_code(results):
    figures = results[0].completions
    assert figures.verdicts == {"FORMAT_ERROR": 3}
    assert figures.attempts[0].passed_by_now.value == 0
    assert figures.attempts[0].passed_by_now.high == pytest.approx(wilson_interval(0, 3)[1])


def test_a_done_evaluation_is_not_done_again(results, run, exports, tasks, backend):
    before = {name: result_path(run.paths, name).stat().st_mtime_ns for name in exports}
    assert evaluation(run, tasks, backend, max_corrections=1).run() == results == read_results(run.paths)
    assert {name: result_path(run.paths, name).stat().st_mtime_ns for name in exports} == before


@pytest.fixture
def copy(run, exports, tmp_path):
    """The same run in another folder, to be evaluated otherwise."""
    for name in ("store", "export"):
        (tmp_path / name).symlink_to(run.paths.root / name)
    return SimpleNamespace(paths=RunPaths(tmp_path), data=run.data)


def test_other_inputs_are_evaluated_anew(results, copy, run, tasks, backend):
    shutil.copytree(run.paths.eval, copy.paths.eval)
    calls = []
    again = evaluation(copy, tasks, backend, num_tasks=2).run(lambda done, total, note="": calls.append((done, total)))
    assert [result.completions.tasks for result in again] == [2, 2]
    assert again[1].completions.attempts[0].labels == {"PASS": 1, "COMPILATION_ERROR": 1}
    assert again[1].inputs_hash != results[1].inputs_hash
    assert read_result(result_path(copy.paths, "trained")) == again[1]
    assert calls[-1][0] == calls[-1][1] and calls == sorted(calls)


def test_turns_end_as_trained_whatever_the_eos_token_is(run, exports, tasks, backend, trajectories, tmp_path):
    """As with Qwen2.5's base models: `<|im_end|>` ends turns, eos_token is `<|endoftext|>`."""
    (tmp_path / "store").symlink_to(run.paths.store)
    folder = tmp_path / "export" / "trained"
    shutil.copytree(exports["trained"], folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(folder)
    base = SimpleNamespace(paths=RunPaths(tmp_path), data=run.data)
    (result,) = evaluation(base, tasks, backend, num_tasks=1).run()
    assert result.completions.cut_off == 0
    (own,) = read_trajectories(completions_path(base.paths, "trained"))
    (learned,) = [t for t in trajectories if t.task_id == own.task_id]
    assert own.messages == learned.messages[: len(own.messages)]


def test_folded_models_are_not_asked_to_correct(copy, tasks, backend):
    folded = SimpleNamespace(paths=copy.paths, data=copy.data.model_copy(update={"form": Form.FOLDED}))
    with pytest.raises(ConfigError, match="max_corrections: 0"):
        evaluation(folded, tasks, backend, max_corrections=1).run()


def test_other_prompts_are_other_inputs(copy, exports, tasks, backend, monkeypatch):
    def inputs(**data):
        other = SimpleNamespace(paths=copy.paths, data=copy.data.model_copy(update=data))
        return evaluation(other, tasks, backend)._inputs(exports["fresh"])

    before = inputs()
    assert inputs() == before != inputs(form=Form.FOLDED)
    monkeypatch.setattr(router, "_REQUESTS", ("Do this.",))
    assert inputs()["prompts"] != before["prompts"]


def test_results_without_an_export_are_not_of_the_run(results, copy, run):
    shutil.copytree(run.paths.eval, copy.paths.eval)
    for name in ("a", "trained"):
        (copy.paths.root / "other" / "export" / name).mkdir(parents=True)
    other = RunPaths(copy.paths.root / "other")
    shutil.copytree(run.paths.eval, other.eval)
    shutil.copy(run.paths.export / "trained" / "milestone.json", other.export / "trained")
    assert [result.milestone for result in read_results(copy.paths)] == ["fresh", "trained"]
    assert [result.milestone for result in read_results(other)] == ["trained"]


def test_samples_of_a_task_differ_and_give_pass_at_k(copy, tasks, backend):
    sampled = evaluation(copy, tasks, backend, samples=4, temperature=1.5, pass_at=[1, 3], num_tasks=1)
    (result,) = [result for result in sampled.run() if result.milestone == "trained"]
    conversations = list(read_trajectories(completions_path(copy.paths, "trained")))
    assert len({c.provenance.details["turns"][0]["text"] for c in conversations}) > 1
    passed = sum(c.attempts[0].label == "PASS" for c in conversations)
    assert result.completions.pass_at["1"] == pytest.approx(passed / 4)
    missed = {0: 1.0, 1: 1 / 4}.get(passed, 0.0)  # chance that 3 of 4 draws hold none of the passed ones
    assert result.completions.pass_at["3"] == pytest.approx(1 - missed)


def test_a_prompt_without_room_says_what_to_lower(copy, tasks, backend):
    with pytest.raises(ConfigError, match="lower max_new_tokens"):
        evaluation(copy, tasks, backend, max_new_tokens=1000).run()


def test_it_says_what_is_missing(copy, tasks, backend, tmp_path):
    with pytest.raises(ConfigError, match="none of the held-out tasks"):
        evaluation(copy, {}, backend).run()
    empty = Evaluation(EvalConfig(), copy.data, LossConfig(), RunPaths(tmp_path / "nothing"), tasks, backend)
    with pytest.raises(CheckpointError, match="ecot export"):
        empty.run()


def test_results_say_what_they_depend_on(results):
    result = results[1]
    assert result.command == "ecot eval small.yaml"
    assert set(result.inputs["tasks"]) == {"and_gate", "or_gate", "xor_gate"}
    assert result.environment["transformers"]
    assert json.loads(json.dumps(result.inputs)) == result.inputs
