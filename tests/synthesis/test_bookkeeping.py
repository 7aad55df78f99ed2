"""Slots, journal, selection and configuration, without a tool."""

import json
from collections import Counter

import pytest

from ecot.config import validate_config
from ecot.errors import ConfigError
from ecot.outcomes import Domain, Label, Source, Stage
from ecot.synthesis.config import SynthesisConfig
from ecot.synthesis.journal import Drawn, Journal
from ecot.synthesis.mechanical.source import draw_faults
from ecot.synthesis.selection import select
from ecot.synthesis.slots import Slot, Split, derive_seed, draw_slot, split_tasks
from ecot.tasks.bundle import Task
from ecot.trajectories import Attempt, Message, Provenance, Role, Trajectory

TASKS = {f"t{n}": Task(f"t{n}", Domain.GENERAL, "", "", "c", "", "") for n in range(10)}


def trajectory(number, *labels):
    messages, attempts = [Message(Role.USER, "do")], []
    for turn, label in enumerate(labels):
        messages.append(Message(Role.ASSISTANT, "code", "why"))
        attempts.append(
            Attempt(len(messages) - 1, f"{number}.{turn}", Stage.RUN, label, "", "", {}, 0.0, Source.REAL, 1.0, "f")
        )
    return Trajectory(
        f"id{number}", "t", "h", Domain.GENERAL, labels[-1], tuple(messages), tuple(attempts), Provenance("g", "i", 1)
    )


def drawn(number, *labels):
    return Drawn(Split.TRAIN, number, trajectory(number, *labels) if labels else None, {"equivalent": 1}, 3, 0.5)


def test_heldout_tasks_are_configured_or_drawn_from_the_seed():
    config = SynthesisConfig(heldout_tasks=("t3", "t1"))
    assert split_tasks(config, TASKS, 1)[Split.HELDOUT] == ["t1", "t3"]
    assert "t1" not in split_tasks(config, TASKS, 1)[Split.TRAIN]
    fraction = SynthesisConfig(heldout_fraction=0.3)
    splits = [split_tasks(fraction, TASKS, seed) for seed in range(8)]
    assert all(len(split[Split.HELDOUT]) == 3 for split in splits)
    assert len({tuple(split[Split.HELDOUT]) for split in splits}) > 3
    assert splits[0] == split_tasks(fraction, TASKS, 0)
    assert split_tasks(SynthesisConfig(heldout_trajectories=0), TASKS, 0)[Split.HELDOUT] == []


def test_a_split_without_tasks_is_refused():
    with pytest.raises(ConfigError, match="train_trajectories': 400 wanted, but no task is left"):
        split_tasks(SynthesisConfig(heldout_tasks=("t0",)), {"t0": TASKS["t0"]}, 0)


def test_slots_give_every_task_its_turn_and_follow_the_weights():
    faults = {"min": 1, "max": 3, "weights": (1, 0, 3)}
    config = SynthesisConfig(generator={"faults": faults}, balance={"first_pass_share": 0.2})
    slots = [draw_slot(list(TASKS), 5, Split.TRAIN, index) for index in range(2000)]
    assert set(Counter(slot.task_id for slot in slots).values()) == {200}
    assert len({slot.task_id for slot in slots[:10]}) == 10
    assert len({slot.seed for slot in slots}) == 2000
    faults = [draw_faults(config.generator, config.balance, slot) for slot in slots]
    counts = Counter(count for count, _ in faults)
    assert set(counts) == {0, 1, 3}
    assert 0.17 < counts[0] / 2000 < 0.23
    assert 2.4 < counts[3] / counts[1] < 3.7
    assert 0.12 < sum(may_be_long for _, may_be_long in faults) / 2000 < 0.18
    assert slots[7] == draw_slot(list(reversed(TASKS)), 5, Split.TRAIN, 7)


def test_seeds_are_stable_over_machines():
    # printf 7/train/3 | sha256sum
    assert derive_seed(7, "train", 3) == 0x2F6351E84D061F86 >> 1
    assert derive_seed(7, "train", 4) != derive_seed(7, "train", 3)


def test_a_journal_is_read_back_and_a_torn_line_is_cut_off(tmp_path):
    path = tmp_path / "journal.jsonl"
    slots = [Slot(Split.TRAIN, n, "t", 1) for n in range(3)]
    with Journal(path, {"identity": "a"}) as journal:
        for n in range(3):
            journal.append(slots[n], drawn(n, Label.PASS) if n != 1 else drawn(n))
    whole = path.read_bytes()
    for cut in range(len(whole.splitlines()[0]) + 1, len(whole), 37):
        path.write_bytes(whole[:cut])
        with Journal(path, {"identity": "a"}) as journal:
            kept = whole[:cut].count(b"\n") - 1
            assert len(journal.drawn) == kept
            for n in range(kept):
                assert journal.drawn[Split.TRAIN, n] == (drawn(n, Label.PASS) if n != 1 else drawn(n))
            for n in range(kept, 3):
                journal.append(slots[n], drawn(n, Label.PASS) if n != 1 else drawn(n))
        assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b'{"identity": "b"}\n{}\n', b"\xff\n", b'{"identity"'])
def test_a_journal_of_another_run_is_replaced(tmp_path, content):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    with Journal(path, {"identity": "a"}) as journal:
        assert journal.drawn == {}
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"identity": "a"}]


def test_selection_refuses_repetitions():
    items = [drawn(0, Label.PASS), drawn(0, Label.PASS), drawn(1), drawn(2, Label.PASS), drawn(3, Label.PASS)]
    selection = select(items, 2, 1.0)
    assert [t.id for t in selection.kept] == ["id0", "id2"]
    assert selection.discards == {"duplicate": 1}


def test_selection_holds_the_share_of_every_label():
    common, rare = Label.COMPILATION_ERROR, Label.FUNCTIONAL_MISMATCH
    items = [drawn(n, rare if n % 4 == 3 else common, Label.PASS) for n in range(200)]
    selection = select(items, 80, 0.6)
    failing = selection.failing
    assert len(selection.kept) == 80
    assert failing[common] <= 0.6 * failing.total()
    assert selection.discards["label_share"] > 0
    assert Counter(t.attempts[0].label for t in selection.kept) == failing
    assert [t.id for t in select(items[:150], 80, 0.6).kept] == [t.id for t in selection.kept]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"generator": {"faults": {"min": 3, "max": 2}}}, r"faults\.max \(2\) is below faults\.min \(3\)"),
        ({"max_corrections": 2}, r"faults\.max \(3\) needs as many corrections, but max_corrections is 2"),
        ({"generator": {"faults": {"weights": [1.0]}}}, "faults.weights needs 3 numbers"),
        ({"generator": {"type": "llm"}}, "generator.type"),
        ({"train_trajectories": 0, "heldout_trajectories": 0}, "nothing to do"),
        ({"balance": {"syntax": 0, "elaboration": 0, "behaviour": 0}}, "must be positive"),
        ({"heldout": 3}, "unknown key 'heldout'"),
    ],
)
def test_bad_configurations_are_refused_with_the_remedy(values, message):
    with pytest.raises(ConfigError, match=message):
        validate_config(SynthesisConfig, values, "run.yaml")
