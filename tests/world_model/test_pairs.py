"""Turns become pairs once each, tasks go to one part alone, and what is left out is counted."""

from dataclasses import replace

import pytest

from ecot.errors import ConfigError, DataError
from ecot.outcomes import Domain, Label, Source
from ecot.run_paths import RunPaths
from ecot.segments import Kind
from ecot.trajectories import Role, TurnKind
from ecot.trajectory_io import read_trajectories, write_trajectories
from ecot.world_model.config import WorldModelConfig
from ecot.world_model.environment import Question
from ecot.world_model.pairs import collect_turns, make_pairs, outcome_of, pair_path, read_summary
from ecot.world_model.splits import Part, split_tasks

pytestmark = pytest.mark.xdist_group("python")


def test_every_real_turn_is_one_pair_in_one_part(world_run, trajectories):
    paths = world_run[1]
    summary = read_summary(paths)
    rows = {part: list(read_trajectories(pair_path(paths, part))) for part in Part}
    ids = {part: {row.task_id for row in found} for part, found in rows.items()}
    assert not ids[Part.TRAIN] & ids[Part.HELDOUT] and not ids[Part.TRAIN] & ids[Part.CALIBRATION]
    assert [len(ids[part]) for part in Part] == [4, 2, 2]
    assert summary.tasks == {id: part for part in Part for id in sorted(ids[part])}
    real = {(row.task_id, attempt.code): attempt for row in trajectories for attempt in row.attempts}
    told = [row for found in rows.values() for row in found]
    assert {(row.task_id, row.attempts[0].code) for row in told} == set(real) and len(told) == len(real)
    for row in told:
        assert [message.role for message in row.messages] == [Role.SYSTEM, Role.USER, Role.ASSISTANT]
        assert row.messages[2].kind is TurnKind.OBSERVATION
        assert row.messages[2].content == outcome_of(real[row.task_id, row.attempts[0].code])
    assert {v.label for v in summary.verdicts[Domain.GENERAL]} == {row.verdict for row in rows[Part.TRAIN]}
    assert sum(summary.pairs[part].get(Domain.GENERAL, 0) for part in Part) == len(real)


def test_only_the_outcome_is_trained(world_run, renderer):
    from transformers import AutoTokenizer

    paths = world_run[1]
    render = renderer(AutoTokenizer.from_pretrained(paths.export / "1K"))
    row = next(iter(read_trajectories(pair_path(paths, Part.TRAIN))))
    encoded = render.encode([render.render(row.messages)])[0]
    ids = iter(encoded.ids.tolist())
    texts = dict.fromkeys(Kind, "")
    for run in encoded.runs:
        texts[run.kind] += render.decode([next(ids) for _ in range(run.length)])
    assert texts[Kind.OBSERVATION].strip() == row.messages[2].content + "<|im_end|>"
    assert texts[Kind.THINKING] == texts[Kind.ANSWER] == ""


def test_the_candidate_stands_last_and_the_reference_nowhere(tasks):
    task = replace(tasks["merge_windows"], reference="SECRET", hidden={"test.py": "x" * 5000, "a.py": "assert 1"})
    system, ask = Question(3000, hidden=True).messages(task, "print(1)")
    assert ask.content.endswith("# Candidate\n\n```python\nprint(1)\n```") and "SECRET" not in ask.content
    assert ask.content.startswith("domain: general\n") and task.spec.strip() in ask.content
    assert "assert 1" in ask.content and "more characters" in ask.content
    assert len(ask.content) < 3200 + len(task.spec)
    assert "a.py" not in Question(3000, hidden=False).messages(task, "print(1)")[1].content
    assert system.role is Role.SYSTEM


def test_what_cannot_be_learnt_from_is_counted(trajectories, tasks, tmp_path):
    row = trajectories[0]
    attempt = row.attempts[-1]
    predicted = replace(row, id="predicted", attempts=(replace(attempt, source=Source.ICWM),))
    format_error = replace(attempt, label=Label.FORMAT_ERROR, subcode="no_code", code="")
    silent = replace(row, id="silent", verdict=Label.FORMAT_ERROR, attempts=(format_error,))
    changed = replace(row, id="changed", task_hash="0" * 64)
    strange = replace(row, id="strange", task_id="nobody_knows")
    write_trajectories(tmp_path / "rows.jsonl", [row, row, predicted, silent, changed, strange])
    turns, left_out = collect_turns([tmp_path / "rows.jsonl"], tasks)
    count = len(row.attempts)
    assert len(turns) == count
    assert left_out == {
        "seen before": count,
        "predicted, not executed": 1,
        "without code": 1,
        "of a task that has changed since": count,
        "of an unknown task": count,
    }


def test_two_outcomes_of_one_candidate_are_refused(trajectories, tasks, tmp_path):
    row = trajectories[0]
    other = replace(row.attempts[-1], diagnostics="something else")
    write_trajectories(tmp_path / "rows.jsonl", [row, replace(row, attempts=(*row.attempts[:-1], other))])
    with pytest.raises(DataError, match="under one fingerprint; the tool is not deterministic"):
        collect_turns([tmp_path / "rows.jsonl"], tasks)


def config(path, **values):
    return WorldModelConfig(trajectories=(path,), tasks=("builtin:general",), **values)


def test_tasks_are_split_by_domain_and_by_seed(tmp_path):
    domains = {f"t{number}": Domain.GENERAL for number in range(20)} | {
        f"c{number}": Domain.CAD_3D for number in range(3)
    }
    section = config(tmp_path, heldout_fraction=0.2, calibration_fraction=0.1)
    parts = split_tasks(section, 1, domains)
    count = lambda letter, part: sum(id[0] == letter and own is part for id, own in parts.items())  # noqa: E731
    assert [count("t", part) for part in Part] == [14, 2, 4] and [count("c", part) for part in Part] == [1, 1, 1]
    assert split_tasks(section, 1, dict(reversed(domains.items()))) == parts != split_tasks(section, 2, domains)
    named = split_tasks(config(tmp_path, heldout_tasks=("t3", "c1")), 1, domains)
    assert {id for id, part in named.items() if part is Part.HELDOUT} == {"t3", "c1"}
    with pytest.raises(ConfigError, match="no execution on nowhere"):
        split_tasks(config(tmp_path, heldout_tasks=("nowhere",)), 1, domains)
    with pytest.raises(ConfigError, match="domain cad_3d: executions on 2 tasks"):
        split_tasks(section, 1, {id: domain for id, domain in domains.items() if id != "c0"})


def test_nothing_to_learn_from_is_said(tmp_path, trajectories):
    write_trajectories(tmp_path / "rows.jsonl", [replace(trajectories[0], task_id="nobody_knows")])
    with pytest.raises(ConfigError, match=r"no real execution to learn from \(\d+ of an unknown task\)"):
        make_pairs(config(tmp_path / "rows.jsonl"), RunPaths(tmp_path), seed=0)
    with pytest.raises(ConfigError, match="make the pairs first: ecot icwm pairs CONFIG"):
        read_summary(RunPaths(tmp_path))


def test_trajectories_of_synthesis_are_never_overwritten(world_run, tmp_path):
    paths = RunPaths(tmp_path)
    paths.trajectories.mkdir()
    (paths.trajectories / "summary.json").write_text("{}")
    with pytest.raises(
        ConfigError, match=r"holds what `ecot synth` wrote \(summary.json\).* another 'name' or 'run_dir'"
    ):
        make_pairs(world_run[0], paths, seed=0)
    assert [path.name for path in paths.trajectories.iterdir()] == ["summary.json"]


def test_at_most_so_many_turns_are_held_out(world_run, tmp_path):
    section = world_run[0].model_copy(update={"max_heldout_turns": 3})
    summary = make_pairs(section, RunPaths(tmp_path), seed=0)
    assert summary.pairs[Part.HELDOUT] == summary.pairs[Part.CALIBRATION] == {Domain.GENERAL: 3}
    assert summary.left_out["beyond max_heldout_turns (heldout)"] > 0
