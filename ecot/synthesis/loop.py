"""The ECoT loop: attempt, execute, observe, think, revise; whatever writes the attempts.

Equation 1 of the paper (arXiv 2604.03144): a first attempt and up to K = 4 corrections, stopped by the first PASS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ecot.answers import extract_code
from ecot.backends.protocol import Backend
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage
from ecot.synthesis.observation import observation_text
from ecot.synthesis.postprocess import clean_answer, clean_thinking
from ecot.synthesis.router import Prompt
from ecot.tasks.bundle import Task
from ecot.trajectories import Attempt, Message, Provenance, Role, Trajectory

MAX_CORRECTIONS = 4
"""The paper's K."""


@dataclass(frozen=True)
class Generated:
    """One assistant turn."""

    thinking: str
    answer: str
    """The answer, with the code in a fenced block."""


class Generator(Protocol):
    """Writes attempts."""

    async def generate(self, task: Task, messages: Sequence[Message]) -> Generated | None:
        """The next assistant turn, given everything said so far (the last message is a request or an observation).

        None if it can say no more (the conversation is too long for it): the trajectory ends as it stands.
        """
        ...


async def run_loop(
    task: Task,
    prompt: Prompt,
    generator: Generator,
    backend: Backend,
    provenance: Provenance,
    max_corrections: int = MAX_CORRECTIONS,
) -> Trajectory | None:
    """Work on one task until PASS or until the corrections run out. Failed attempts are kept.

    Every attempt is answered by an observation, the last one included. None if the generator had nothing to say.

    Raises:
        ToolError: the tool or the harness broke; such a trajectory must not be written.
    """
    messages = list(prompt.messages)
    attempts: list[Attempt] = []
    for _ in range(1 + max_corrections):
        turn = await generator.generate(task, messages)
        if turn is None:
            break
        answer = clean_answer(turn.answer, task.language)
        thinking = clean_thinking(turn.thinking)
        messages.append(Message(Role.ASSISTANT, answer, thinking or None))
        code = extract_code(answer, task.language)
        execution = await _execute(task, code, backend)
        attempts.append(attempt_of(execution, len(messages) - 1, code))
        messages.append(Message(Role.OBSERVATION, observation_text(execution)))
        if execution.passed:
            break
    if not attempts:
        return None
    return Trajectory(
        id=trajectory_id(task, messages),
        task_id=task.id,
        task_hash=task.hash,
        domain=task.domain,
        verdict=attempts[-1].label,
        messages=tuple(messages),
        attempts=tuple(attempts),
        provenance=provenance,
    )


def trajectory_id(task: Task, messages: Sequence[Message]) -> str:
    """The task and a hash of all that was said: equal conversations have equal ids."""
    text = json.dumps([[m.role, m.content, m.reasoning_content] for m in messages], ensure_ascii=False)
    return f"{task.id}-{hashlib.sha256(text.encode('utf-8')).hexdigest()[:16]}"


async def _execute(task: Task, code: str | None, backend: Backend) -> Execution:
    if code is None:
        return missing_code(task.language, backend.fingerprint)
    execution = await backend.execute(task, code)
    if execution.label is Label.TOOL_ERROR:
        raise ToolError(f"task {task.id}: {execution.diagnostics or 'the tool failed without a word'}")
    return execution


def missing_code(language: str, fingerprint: str) -> Execution:
    """The outcome of an answer without a complete code block; `fingerprint` is that of the backend not asked."""
    return Execution(
        label=Label.FORMAT_ERROR,
        subcode="no_code",
        stage=Stage.PARSE,
        diagnostics=f"No complete fenced code block was found; answer in one ```{language} block.",
        fingerprint=fingerprint,
    )


def attempt_of(execution: Execution, message_index: int, code: str | None) -> Attempt:
    """An execution as a trajectory keeps it.

    Args:
        execution: what came of the attempt.
        message_index: where the assistant's message stands in the conversation.
        code: what was executed; None if the answer held none.
    """
    return Attempt(
        message_index=message_index,
        code=code or "",
        stage=execution.stage,
        label=execution.label,
        subcode=execution.subcode,
        diagnostics=execution.diagnostics,
        metrics=dict(execution.metrics),
        seconds=execution.seconds,
        source=execution.source,
        confidence=execution.confidence,
        fingerprint=execution.fingerprint,
    )
