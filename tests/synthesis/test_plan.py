"""The mechanical generator: every step fails for real, points at what is undone next, and the last state passes."""

import asyncio
import re
from random import Random

import pytest

from ecot.outcomes import Label
from ecot.synthesis.config import BalanceConfig, MechanicalConfig
from ecot.synthesis.faults import OPERATORS, FaultStack
from ecot.synthesis.mechanical.generator import MechanicalGenerator
from ecot.synthesis.mechanical.implication import Via
from ecot.synthesis.mechanical.plan import Planner
from ecot.synthesis.memo import MemoBackend
from ecot.synthesis.observation import observation_text
from ecot.synthesis.verilog.cone import fan_in
from ecot.synthesis.verilog.design import read_design
from ecot.trajectories import Message, Role

pytestmark = pytest.mark.xdist_group("synthesis_plan")  # one worker, so that the runs are made once

SMALL = ("adder_carry", "edge_detector", "gray_counter", "lfsr")


def plan_for(task, icarus, num_faults, seed, **generator):
    planner = Planner(task, MemoBackend(icarus), MechanicalConfig(**generator), BalanceConfig(), Random(seed))
    return asyncio.run(planner.draw(num_faults))


@pytest.fixture(scope="module")
def plans(tasks, icarus):
    """Three-fault plans where they come out, on small tasks."""
    drawn = {}
    for number, name in enumerate(SMALL):
        drawn[name] = plan_for(tasks[name], icarus, 3, number, target_characters=20_000)
    return drawn


def test_states_lead_from_failure_to_a_pass(plans, tasks, execute):
    assert max(len(plan.steps) for plan in plans.values()) >= 2
    for name, plan in plans.items():
        labels = [execute(tasks[name], code).label for code in plan.codes]
        assert labels[-1] is Label.PASS
        assert Label.PASS not in labels[:-1]
        assert [step.execution.label for step in plan.steps] == labels[:-1]


def test_each_step_undoes_one_fault(plans):
    for plan in plans.values():
        sizes = [len(step.applied) for step in plan.steps]
        assert sizes == list(range(len(sizes), 0, -1))
        for step, code in zip(plan.steps, plan.codes[1:], strict=True):
            assert plan.stack.text(step.remaining) == code


def test_each_diagnostic_implicates_what_is_undone(plans):
    """Against the raw text of the diagnostic: a line at the edit, a name of the edit, or a signal in its fan-out."""
    for plan in plans.values():
        for step in plan.steps:
            edit, text = step.implication.edit, step.execution.diagnostics
            if step.implication.via is Via.NAME:
                assert any(re.search(rf"\b{re.escape(name)}\b", text) for name in edit.identifiers)
            elif step.implication.via is Via.CONE:
                failing = re.findall(r"output '(\w+)': \d+ mismatches", text)
                cones = [
                    fan_in(read_design(code), failing) for code in (plan.stack.code, plan.stack.text(step.applied))
                ]
                assert any(edit.targets & cone.keys() for cone in cones)
            else:
                line = int(re.search(r"candidate\.sv:(\d+)", text)[1])
                place = plan.stack.place(edit, step.applied)
                assert line >= place.first_line


def test_no_faults_give_a_first_attempt_that_passes(tasks, icarus, execute):
    plan = plan_for(tasks["lfsr"], icarus, 0, 5)
    assert plan.steps == ()
    assert execute(tasks["lfsr"], plan.codes[0]).passed


def test_equivalent_faults_are_discarded_and_counted(tasks, icarus):
    """The Gray counter's comparison with an all-ones constant does not care how wide its zeros are written."""
    planner = Planner(
        tasks["gray_counter"], MemoBackend(icarus), MechanicalConfig(variants=False), BalanceConfig(), Random(0)
    )
    code = tasks["gray_counter"].reference
    design = read_design(code)
    for seed in range(40):
        edits = [
            edit
            for id in ("drop_default", "wrong_edge", "blocking_assignment", "wrong_operator", "wrong_constant")
            for edit in OPERATORS[id].propose(design, Random(seed))
        ]
        for edit in edits:
            stack = FaultStack(code, (edit,))
            if asyncio.run(planner.backend.execute(planner.task, stack.text([edit]))).passed:
                assert asyncio.run(planner._walk(stack, [edit])) == []
                assert planner.discards["equivalent"] == 1
                return
    pytest.fail("no equivalent mutant among these; choose another task")


def test_an_unimplicated_turn_is_dropped_with_all_before_it(tasks, icarus):
    """Two faults in unrelated outputs: whichever is named first, the walk never undoes the other one for it."""
    task = tasks["gray_counter"]
    code = task.reference
    planner = Planner(task, MemoBackend(icarus), MechanicalConfig(variants=False), BalanceConfig(), Random(3))
    edits = [
        next(
            e for e in OPERATORS["drop_semicolon"].propose(read_design(code), Random(0)) if "assign" in line_of(code, e)
        ),
        next(e for e in OPERATORS["misspell_use"].propose(read_design(code), Random(0)) if "wrap" in line_of(code, e)),
    ]
    stack = FaultStack(code, tuple(sorted(edits, key=lambda edit: edit.start)))
    steps = asyncio.run(planner._walk(stack, list(stack.edits)))
    assert [step.implication.edit.operator for step in steps] == ["drop_semicolon", "misspell_use"]


def line_of(code, edit):
    return code.split("\n")[edit.line - 1]


def test_long_conversations_get_fewer_faults(tasks, icarus):
    plan = plan_for(tasks["uart_tx"], icarus, 3, 1, target_characters=1000)
    assert len(plan.steps) == 1


def test_thinking_names_place_and_change_and_nothing_it_cannot_know(plans, tasks):
    words = re.compile(r"\b(fault|inject|mutat|mechanical|operator id|reference solution|original code)", re.IGNORECASE)
    ids = re.compile("|".join(id for id in OPERATORS if "_" in id and id != "blocking_assignment"))
    for name, plan in plans.items():
        task = tasks[name]
        generator = MechanicalGenerator(plan, Random(1))
        messages = [Message(Role.USER, task.spec)]
        first = asyncio.run(generator.generate(task, messages))
        assert task.entry in first.thinking
        assert all(item.name in first.thinking for item in read_design(plan.stack.code).having("output"))
        texts = [first.thinking]
        for step in plan.steps:
            messages.append(Message(Role.ASSISTANT, "code"))
            messages.append(Message(Role.OBSERVATION, observation_text(step.execution)))
            texts.append(asyncio.run(generator.generate(task, messages)).thinking)
            assert re.search(r"\bline \d+|\blines \d+|Line \d+", texts[-1])
        for text in texts:
            assert not words.search(text), text
            assert not ids.search(text), text


def test_the_generator_refuses_another_outcome_than_it_planned_for(plans, tasks):
    plan = plans["lfsr"]
    generator = MechanicalGenerator(plan, Random(1))
    messages = [Message(Role.USER, "x"), Message(Role.ASSISTANT, "y"), Message(Role.OBSERVATION, "outcome: PASS")]
    with pytest.raises(AssertionError, match="another outcome"):
        asyncio.run(generator.generate(tasks["lfsr"], messages))
