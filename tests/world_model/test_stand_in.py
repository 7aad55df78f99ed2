"""From pairs to a calibrated model that stands in for a real tool, is left where it is unsure, and is audited by it."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from ecot.answers import format_answer
from ecot.backends.conformance import CheckState, check_backend
from ecot.backends.protocol import Backend
from ecot.backends.registry import make_attack
from ecot.cli.open_backend import open_backend
from ecot.data_mix.config import DataConfig
from ecot.errors import CheckpointError, ConfigError, DataError
from ecot.outcomes import Domain, Label, Source
from ecot.run_paths import RunPaths
from ecot.synthesis.journal import Drawn
from ecot.synthesis.loop import Generated, run_loop
from ecot.synthesis.router import build_prompt
from ecot.synthesis.source import SlotLostError
from ecot.trajectories import Attempt, Provenance
from ecot.trajectory_io import read_trajectories, write_trajectories
from ecot.world_model.audit import JOURNAL, Standing, audit, choose_turns
from ecot.world_model.audit_accuracy import AuditArm
from ecot.world_model.backend import IcwmOptions, open_icwm
from ecot.world_model.closed_loop import closed_loop, heldout_slots
from ecot.world_model.config import AuditConfig
from ecot.world_model.environment import Question
from ecot.world_model.evaluate import choose_export, evaluate
from ecot.world_model.model_folder import CARD, read_card, write_card
from ecot.world_model.pairs import collect_turns, read_summary
from ecot.world_model.splits import Part

pytestmark = pytest.mark.xdist_group("python")

DATA = DataConfig(
    tokenizer={"train": {"vocab_size": 600}},
    budgets=[{"name": "1K", "tokens": 1000}],
    packing={"pack_tokens": 1024, "global_batch_tokens": 1024},
)


@pytest.fixture(scope="module")
def result(world_run):
    config, paths = world_run
    seen = []
    found = evaluate(config, DATA, paths, 0, lambda done, total, note: seen.append((done, total)))
    assert seen == [(number, seen[-1][1]) for number in range(1, seen[-1][1] + 1)]
    return found


@pytest.fixture(scope="module")
def export(world_run, result):
    return world_run[1].export / "1K"


def test_the_figures_are_those_of_the_held_out_turns(world_run, result, trajectories):
    paths = world_run[1]
    parts = read_summary(paths).tasks
    heldout = [row for row in trajectories if parts[row.task_id] is Part.HELDOUT]
    figures = json.loads(result.path.read_text())
    overall = figures["fidelity"]["overall"]
    assert overall["turns"] == sum(len(row.attempts) for row in heldout) and overall["tasks"] == 2
    assert figures["trajectories"]["overall"]["verdict"]["trials"] == len(heldout)
    confusion = {label: sum(row.values()) for label, row in overall["confusion"].items()}
    real = [str(attempt.label) for row in heldout for attempt in row.attempts]
    assert confusion == {label: real.count(label) for label in sorted(set(real), key=list(confusion).index)}
    assert figures["majority_baseline"]["overall"]["turns"] == overall["turns"]
    assert figures["unpredicted"] == {}


def test_the_card_travels_with_the_weights(export):
    card = read_card(export)
    assert set(card.verdicts) == {Domain.GENERAL} and card.question == Question(2000, hidden=True)
    write_card(export, card)
    assert read_card(export) == card
    broken = json.loads((export / CARD).read_text())
    (export / CARD).write_text(json.dumps(broken | {"past_thinking": "perhaps"}))
    with pytest.raises(DataError, match="key 'past_thinking'"):
        read_card(export)
    (export / CARD).write_text(json.dumps(broken | {"taxonomy_version": "0"}))
    with pytest.raises(CheckpointError, match="taxonomy '0'"):
        read_card(export)
    write_card(export, card)


def test_without_tools_every_prediction_stands(export, tasks):
    backend = open_icwm(IcwmOptions(model=export, tools=None, device="cpu"))
    assert isinstance(backend, Backend) and backend.domains == {Domain.GENERAL}
    task = tasks["merge_windows"]
    jobs = [(task, task.reference), (task, "def"), (tasks["rle_row"], tasks["rle_row"].reference)]
    together = asyncio.run(backend.execute_many(jobs))
    alone = [asyncio.run(backend.execute(*job)) for job in jobs]
    for first, second in zip(together, alone, strict=True):
        assert (first.label, first.diagnostics, first.metrics) == (second.label, second.diagnostics, second.metrics)
        assert first.source is Source.ICWM and 0 < first.confidence <= 1
        assert first.confidence == pytest.approx(second.confidence, abs=1e-4)
        assert first.fingerprint == backend.fingerprint
    assert backend.shares.predicted == 6
    with pytest.raises(ConfigError, match="has not learnt domain cad_3d"):
        asyncio.run(backend.execute(replace(task, domain=Domain.CAD_3D), "x = 1"))
    with pytest.raises(DataError, match="control token"):
        asyncio.run(backend.execute(task, "x = '<|im_end|>'"))


def test_what_it_is_not_sure_of_is_run(export, tasks, tools):
    """The thresholds of a model with random weights trust nothing, so that all outcomes are real."""
    options = {"model": export, "tools": "python", "device": "cpu"}
    task = tasks["merge_windows"]
    jobs = [(task, task.reference), (task, task.wrong[0].code), (task, "x = '<|im_end|>'")]
    careful = open_backend("icwm", options)
    real = asyncio.run(tools.execute_many(jobs))
    found = asyncio.run(careful.execute_many(jobs))
    assert [replace(e, seconds=0) for e in found] == [replace(e, seconds=0) for e in real]
    assert (careful.shares.unsure, careful.shares.unreadable, careful.shares.predicted) == (2, 1, 0)

    trusting = open_backend("icwm", {**options, "threshold": 0.0, "verify_pass": False})
    found = asyncio.run(trusting.execute_many(jobs))
    assert [execution.source for execution in found] == [Source.ICWM, Source.ICWM, Source.REAL]
    assert trusting.fingerprint != careful.fingerprint
    checking = open_backend("icwm", {**options, "threshold": 0.0})
    for execution in asyncio.run(checking.execute_many(jobs)):
        assert execution.source is Source.REAL or execution.label is not Label.PASS


def test_options_that_do_not_fit_are_named(export, tmp_path):
    with pytest.raises(ConfigError, match="backend 'icwm': option 'treshold'"):
        open_backend("icwm", {"model": export, "treshold": 0.9})
    with pytest.raises(ConfigError, match="is no folder; give an export of its run"):
        open_backend("icwm", {"model": tmp_path / "absent"})
    with pytest.raises(CheckpointError, match="calibrate the world model first"):
        open_backend("icwm", {"model": tmp_path})
    with pytest.raises(CheckpointError, match="an export is needed, there is no export"):
        choose_export(RunPaths(tmp_path), None)


@pytest.fixture
def predicted(trajectories):
    """As a world model would have written them: every second attempt is predicted, one PASS wrongly."""
    rows = []
    for number, row in enumerate(trajectories):
        attempts = [
            replace(attempt, source=Source.ICWM, confidence=0.5 + place / 20, fingerprint="model")
            if (place + number) % 2
            else attempt
            for place, attempt in enumerate(row.attempts)
        ]
        if number == 0:
            attempts = [replace(attempts[0], label=Label.PASS, subcode="", source=Source.ICWM, fingerprint="model")]
        rows.append(replace(row, attempts=tuple(attempts), verdict=attempts[-1].label))
    return rows


def test_audits_find_what_is_wrong_and_go_on_where_they_were(predicted, tasks, tools, tmp_path, monkeypatch):
    write_trajectories(tmp_path / "predicted.jsonl", predicted)
    folder, config = tmp_path / "audit", AuditConfig(random_share=0.2, low_confidence_share=0.1)

    def run():
        question, baselines = Question(2000, hidden=True), {Domain.GENERAL: 0.9}
        files = [tmp_path / "predicted.jsonl"]
        return asyncio.run(audit(files, tasks, tools, config, baselines, question, 3, folder))

    result = run()
    assert result.corrected == 1 and result.broken == 0 and 0 < result.audited < result.predicted
    assert sum(result.standings.values()) == len(predicted) and result.standings[Standing.REFUTED] == 1
    refuted = list(read_trajectories(folder / "refuted.parquet"))
    assert [row.id for row in refuted] == [predicted[0].id]
    verified = list(read_trajectories(folder / "verified.parquet"))
    assert verified == [row for row in predicted[1:] if row.id in {kept.id for kept in verified}]
    # A PASS that ends a trajectory is never left unverified.
    unverified = list(read_trajectories(folder / "unverified.parquet"))
    assert all(row.attempts[-1].label is not Label.PASS for row in unverified)
    corrections, left_out = collect_turns([folder / "corrections.parquet"], tasks)
    assert len(corrections) == result.audited and not left_out
    wrong = next(turn for turn in corrections if turn.attempt.code == predicted[0].attempts[0].code)
    assert wrong.attempt.label is not Label.PASS and wrong.attempt.source is Source.REAL

    journal = (folder / JOURNAL).read_text()
    lines = journal.splitlines()
    (folder / JOURNAL).write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40])
    executed = []
    execute_many = tools.execute_many
    monkeypatch.setattr(tools, "execute_many", lambda jobs: executed.extend(jobs) or execute_many(jobs))
    again = run()
    assert len(executed) == 1 and again == result
    assert len((folder / JOURNAL).read_text().splitlines()) == len(lines)


def test_the_random_arm_is_drawn_over_all_turns(tasks, trajectories):
    attempt = trajectories[0].attempts[-1]
    rng = Random(0)

    def turn(confidence, label) -> Attempt:
        return replace(attempt, source=Source.ICWM, confidence=confidence, label=label, subcode="")

    task = tasks[trajectories[0].task_id]
    labels = [Label.PASS, Label.RUNTIME_ERROR, Label.FUNCTIONAL_MISMATCH]
    turns = {f"{number:04}": (task, turn(rng.random(), rng.choice(labels))) for number in range(3000)}
    chosen = choose_turns(turns, AuditConfig(random_share=0.1, low_confidence_share=0.05), seed=1)
    arms = {arm: [item for item in chosen if item.arm is arm] for arm in AuditArm}
    assert 240 < len(arms[AuditArm.RANDOM]) < 360  # 300 of 3,000, five standard deviations
    assert {item.key for item in chosen} >= {key for key, (_, a) in turns.items() if a.label is Label.PASS}
    lowest = sorted(turns, key=lambda key: turns[key][1].confidence)[:150]
    assert {item.key for item in chosen} >= set(lowest)
    always = set(lowest) | {key for key, (_, a) in turns.items() if a.label is Label.PASS}
    assert all(item.inclusion == (1.0 if item.key in always else 0.1) for item in chosen)
    # A turn's fate does not hang on the others.
    part = dict(list(turns.items())[:1000])
    random = {item.key for item in choose_turns(part, AuditConfig(random_share=0.1), 1) if item.arm is AuditArm.RANDOM}
    assert random == {item.key for item in arms[AuditArm.RANDOM]} & set(part)


class Scripted:
    """A generator that writes a wrong candidate and, once told of a mismatch, the reference."""

    costly = True

    def __init__(self, tasks, backend):
        self.tasks, self.backend = tasks, backend

    def identity(self):
        return "scripted"

    async def draw(self, slot):
        task = self.tasks[slot.task_id]
        if slot.index == 5:
            raise SlotLostError("the server is down")
        loop = await run_loop(task, build_prompt(task, Random(0)), self, self.backend, Provenance("s", "", 0), 2)
        return Drawn(slot.split, slot.index, loop, {}, 0, 0.0)

    async def generate(self, task, messages):
        told = messages[-1].content
        first = next(wrong.code for wrong in task.wrong if wrong.label is Label.FUNCTIONAL_MISMATCH)
        code = task.reference if "FUNCTIONAL_MISMATCH" in told else first
        return Generated("So.", format_answer(code, "python"))

    async def close(self):
        """Nothing is open."""


class AlwaysMistaken:
    """Real tools that are heard wrongly on one task: all that fails there passes."""

    name, fingerprint = "mistaken", "x"

    def __init__(self, tools, task_id):
        self.tools, self.task_id, self.domains = tools, task_id, tools.domains

    async def execute(self, task, code):
        real = await self.tools.execute(task, code)
        return replace(real, label=Label.PASS, subcode="") if task.id == self.task_id else real

    async def execute_many(self, jobs):
        return [await self.execute(*job) for job in jobs]


def test_a_generator_that_hears_other_outcomes_ends_otherwise(tasks, tools):
    ids = ["merge_windows", "rle_row"]
    slots = heldout_slots(tasks, ids, seed=0, count=8)
    assert Counter(slot.task_id for slot, _ in slots) == dict.fromkeys(ids, 4)

    def drive(model):
        return asyncio.run(closed_loop(lambda backend: Scripted(tasks, backend), slots, tools, model, concurrency=2))

    same = drive(tools)
    assert same.overall.verdict.value == 1 and same.overall.parted.value == 0 and same.lost == 1
    assert same.overall.false_pass.successes == 0
    # It stops at its first, wrong candidate: the verdict is the same, but the code that passed does not hold.
    early = drive(AlwaysMistaken(tools, "rle_row"))
    mistaken = sum(slot.task_id == "rle_row" and slot.index != 5 for slot, _ in slots)
    assert early.overall.parted.successes == early.overall.false_pass.successes == mistaken > 0
    assert early.overall.verdict.value == 1 and early.overall.false_pass.trials == 7
    assert early.by_domain == {Domain.GENERAL: early.overall}
    with pytest.raises(ConfigError, match="no held-out task"):
        heldout_slots(tasks, [], 0, 3)


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_it_passes_the_conformance_suite_of_its_tools(export, tasks, tools, tmp_path):
    """With thresholds that trust nothing, what it adds of its own must change nothing and survive every adversary."""
    backend = open_backend("icwm", {"model": export, "tools": "python", "device": "cpu"})
    attack = make_attack("python", tmp_path / "canary")
    chosen = {"merge_windows": tasks["merge_windows"]}
    results = asyncio.run(check_backend(backend, chosen, attack, canary=tmp_path / "canary"))
    failed = {result.name: result.got for result in results if result.state is not CheckState.PASSED}
    # What the tools said carries their fingerprint, not that of the model in front of them.
    assert failed == {"fingerprint_in_every_outcome": repr(tools.fingerprint)}
    assert backend.shares.predicted == 0 and backend.shares.unsure > 100
