"""The general loop with scripted answers on the real tool: stops at PASS, keeps failures, never writes tool errors."""

import asyncio
from dataclasses import replace
from random import Random

import pytest

from ecot.answers import format_answer
from ecot.errors import ToolError
from ecot.outcomes import Label, Stage
from ecot.synthesis.loop import Generated, attempt_of, missing_code, run_loop
from ecot.synthesis.memo import MemoBackend
from ecot.synthesis.router import build_prompt
from ecot.trajectories import Provenance, Role, parse_trajectory


class Script:
    """Gives its answers in turn and keeps what it was shown."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.seen = []

    async def generate(self, task, messages):
        self.seen.append([message.role for message in messages])
        return Generated("Okay. Thought.  ", self.answers[len(self.seen) - 1])


def walk(task, generator, backend, **options):
    prompt = build_prompt(task, Random(0))
    provenance = Provenance("script", prompt.instruction, 0)
    return asyncio.run(run_loop(task, prompt, generator, backend, provenance, **options))


@pytest.fixture
def task(tasks):
    return tasks["gray_counter"]


def test_it_stops_at_the_first_pass_and_keeps_the_failed_attempts(task, icarus):
    good = format_answer(task.reference, "systemverilog")
    broken = format_answer(task.reference.replace("endmodule", ""), "systemverilog")
    script = Script("No code today.", broken, good, "never asked for")
    trajectory = walk(task, script, icarus)
    assert [a.label for a in trajectory.attempts] == [Label.FORMAT_ERROR, Label.COMPILATION_ERROR, Label.PASS]
    assert [(a.stage, a.subcode) for a in trajectory.attempts[:2]] == [
        (Stage.PARSE, "no_code"),
        (Stage.COMPILE, "syntax"),
    ]
    assert trajectory.verdict is Label.PASS
    turn = [Role.ASSISTANT, Role.OBSERVATION]
    assert [m.role for m in trajectory.messages] == [Role.SYSTEM, Role.USER, *turn, *turn, *turn]
    assert script.seen[1] == [Role.SYSTEM, Role.USER, *turn]
    assert [a.message_index for a in trajectory.attempts] == [2, 4, 6]
    assert trajectory.messages[2].reasoning_content == "Thought."
    assert trajectory.attempts[2].code == task.reference
    assert trajectory.messages[-1].content.startswith("outcome: PASS\nstage: check\nsimulation finished: all ")
    assert parse_trajectory(trajectory.to_row(), "here") == trajectory


def test_an_attempt_keeps_all_of_its_execution(task):
    execution = missing_code("systemverilog", "fp")
    attempt = attempt_of(execution, 2, None)
    kept = {name: getattr(attempt, name) for name in vars(execution)}
    assert kept == vars(execution)
    assert (attempt.message_index, attempt.code) == (2, "")
    assert "```systemverilog block" in execution.diagnostics and execution.fingerprint == "fp"


def test_it_ends_when_the_corrections_run_out(task, icarus):
    trajectory = walk(task, Script(*["nothing"] * 9), icarus, max_corrections=2)
    assert [a.label for a in trajectory.attempts] == [Label.FORMAT_ERROR] * 3
    assert trajectory.verdict is Label.FORMAT_ERROR


def test_a_broken_reference_aborts_the_trajectory(task, icarus):
    broken = replace(task, id="broken", reference="module gray_counter; endmodule")
    with pytest.raises(ToolError, match="the reference does not pass"):
        walk(broken, Script(format_answer(task.reference, "systemverilog")), icarus)


def test_equal_conversations_have_equal_ids(task, icarus):
    good = format_answer(task.reference, "systemverilog")
    first, second = (walk(task, Script(good), icarus) for _ in range(2))
    assert first.id == second.id
    assert walk(task, Script("no", good), icarus).id != first.id


def test_a_memo_runs_nothing_twice(task, icarus):
    memo = MemoBackend(icarus)
    codes = [task.reference, "module", task.reference]
    one = asyncio.run(memo.execute(task, task.reference))
    many = asyncio.run(memo.execute_many([(task, code) for code in codes]))
    assert memo.executions == 2
    assert one.seconds > 0
    assert [e.label for e in many] == [Label.PASS, Label.COMPILATION_ERROR, Label.PASS]
    assert [e.seconds for e in many] == [0, 0, 0]
    assert replace(one, seconds=0) == many[0]
    assert (memo.name, memo.domains, memo.fingerprint) == (icarus.name, icarus.domains, icarus.fingerprint)
