"""The model's own attempts at held-out tasks: prompted as in training, executed for real, kept as trajectories.

All conversations advance together, one attempt a round: generate in batches, execute together, and show the outcome to
those that may correct themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ecot.answers import extract_code
from ecot.data_mix.layout import control_pattern
from ecot.data_mix.parsing import CompletionParser
from ecot.data_mix.rendering import Renderer
from ecot.errors import ConfigError, ToolError
from ecot.eval.config import EvalConfig
from ecot.inference.generation import BatchGenerator, Generated
from ecot.outcomes import Execution, Label
from ecot.synthesis.loop import attempt_of, missing_code
from ecot.synthesis.observation import observation_text
from ecot.synthesis.router import Prompt, build_prompt
from ecot.synthesis.slots import derive_seed
from ecot.tasks.bundle import Task
from ecot.trajectories import Attempt, Message, Provenance, Role, Trajectory

Execute = Callable[[Sequence[tuple[Task, str]]], list[Execution]]
"""Runs candidates on the real backend, results in order."""


@dataclass
class _Conversation:
    """A task being worked on."""

    task: Task
    sample: int
    prompt: Prompt
    messages: list[Message]
    attempts: list[Attempt] = field(default_factory=list)
    turns: list[dict[str, Any]] = field(default_factory=list)
    """Per attempt what `provenance.details` keeps of it."""
    next_ids: list[int] = field(default_factory=list)
    out_of_room: bool = False

    @property
    def passed(self) -> bool:
        return bool(self.attempts) and self.attempts[-1].label is Label.PASS


class Completer:
    """Lets a model attempt tasks.

    Args:
        generator: the model.
        renderer: the run's template, observation role and treatment of past thinking.
        execute: the real backend.
        fingerprint: of that backend; kept with attempts that hold no code.
        config: samples, corrections and seed.
        name: the model's name in the trajectories.
    """

    def __init__(
        self,
        generator: BatchGenerator,
        renderer: Renderer,
        execute: Execute,
        fingerprint: str,
        config: EvalConfig,
        name: str,
    ) -> None:
        self.generator = generator
        self.renderer = renderer
        self.execute = execute
        self.fingerprint = fingerprint
        self.config = config
        self.name = name
        self.parser = CompletionParser(renderer)
        self.control = control_pattern(renderer.tokenizer)
        added = renderer.tokenizer.added_tokens_decoder
        self.control_ids = {id for id, token in added.items() if self.control.fullmatch(token.content)}

    def complete(
        self, tasks: Sequence[Task], progress: Callable[[int, int, str], None] = lambda done, total, note: None
    ) -> list[Trajectory]:
        """Attempt every task `samples` times, with up to `max_corrections` corrections each.

        Raises:
            ConfigError: a prompt and `max_new_tokens` do not fit the model's positions together.
            ToolError: the backend broke.
        """
        conversations = [self._open(task, sample) for task in tasks for sample in range(self.config.samples)]
        for attempt in range(1 + self.config.max_corrections):
            active = [conversation for conversation in conversations if self._may_go_on(conversation)]
            if not active:
                break
            self._judge(active, self._generate(active, attempt, progress))
        return [self._close(conversation) for conversation in conversations]

    def _open(self, task: Task, sample: int) -> _Conversation:
        prompt = opening(task, self.config.seed, sample)
        return _Conversation(task, sample, prompt, list(prompt.messages))

    def _may_go_on(self, conversation: _Conversation) -> bool:
        """Whether there is something left to try and room to write it; prepares the prompt."""
        if conversation.passed or conversation.out_of_room:
            return False
        text = self.renderer.generation_prompt(conversation.messages)
        conversation.next_ids = self.renderer.token_ids(text)
        room = self.generator.longest_prompt
        if len(conversation.next_ids) <= room:
            return True
        if not conversation.attempts:
            raise ConfigError(
                f"the prompt of task {conversation.task.id} has {len(conversation.next_ids)} tokens; with "
                f"eval.max_new_tokens {self.config.max_new_tokens} the model has room for {room}; lower "
                "max_new_tokens, or take shorter tasks or a model with a longer context"
            )
        conversation.out_of_room = True
        return False

    def _generate(
        self, active: Sequence[_Conversation], attempt: int, progress: Callable[[int, int, str], None]
    ) -> list[Generated]:
        def show(done: int) -> None:
            progress(done, len(active), f"attempt {attempt + 1}")

        seeds = [self._seed(conversation, attempt) for conversation in active]
        return self.generator.generate([conversation.next_ids for conversation in active], seeds, show)

    def _seed(self, conversation: _Conversation, attempt: int) -> int:
        return derive_seed("eval", self.config.seed, conversation.task.id, conversation.sample, attempt)

    def _judge(self, active: Sequence[_Conversation], generated: Sequence[Generated]) -> None:
        """Parse, execute and append one attempt to each conversation."""
        codes = [self._say(*pair) for pair in zip(active, generated, strict=True)]
        jobs = [(c.task, code) for c, code in zip(active, codes, strict=True) if code is not None]
        executions = iter(self._execute(jobs))
        for conversation, code in zip(active, codes, strict=True):
            nothing = missing_code(conversation.task.language, self.fingerprint)
            execution = nothing if code is None else next(executions)
            index = len(conversation.messages) - 1
            conversation.attempts.append(attempt_of(execution, index, code))
            conversation.messages.append(Message(Role.OBSERVATION, observation_text(execution)))

    def _execute(self, jobs: Sequence[tuple[Task, str]]) -> list[Execution]:
        """Run candidates. A tool that fails gets a second chance, since the completions have cost more than it does.

        Raises:
            ToolError: it failed again; its failure is never taken for a label.
        """
        try:
            executions = self.execute(jobs)
        except ToolError:
            executions = self.execute(jobs)
        broken = [place for place, execution in enumerate(executions) if execution.label is Label.TOOL_ERROR]
        again = self.execute([jobs[place] for place in broken]) if broken else []
        for place, execution in zip(broken, again, strict=True):
            if execution.label is Label.TOOL_ERROR:
                raise ToolError(f"task {jobs[place][0].id}: {execution.diagnostics or 'the tool failed'}")
            executions[place] = execution
        return executions

    def _say(self, conversation: _Conversation, generated: Generated) -> str | None:
        """Append what the model wrote as a message, verbatim but for control tokens; returns the code in it."""
        raw = self.renderer.decode(generated.ids)
        parsed = self.parser.parse(conversation.messages, self._plain_text(generated.ids))
        conversation.messages.append(Message(Role.ASSISTANT, parsed.content, parsed.thinking))
        conversation.turns.append(
            {
                "prompt_tokens": len(conversation.next_ids),
                "tokens": len(generated.ids),
                "finished": generated.stopped,
                "text": raw,
            }
        )
        return extract_code(parsed.content, conversation.task.language)

    def _plain_text(self, ids: Sequence[int]) -> str:
        """The text of a completion without control tokens, so that it cannot open turns in the next prompt."""
        kept = [id for id in ids if id not in self.control_ids]
        text = self.renderer.decode(kept)
        while self.control.search(text):  # spelled out, or joined from what stood around one
            text = self.control.sub("", text)
        return text

    def _close(self, conversation: _Conversation) -> Trajectory:
        task = conversation.task
        details = {"sample": conversation.sample, "turns": conversation.turns, "out_of_room": conversation.out_of_room}
        return Trajectory(
            id=f"{task.id}-{self.name}-{conversation.sample}",
            task_id=task.id,
            task_hash=task.hash,
            domain=task.domain,
            verdict=conversation.attempts[-1].label,
            messages=tuple(conversation.messages),
            attempts=tuple(conversation.attempts),
            provenance=Provenance(self.name, conversation.prompt.instruction, self.config.seed, details),
        )


def opening(task: Task, seed: int, sample: int) -> Prompt:
    """The first messages of a conversation.

    The wording of the request varies as it does in training; it depends on the sample, never on the model.
    """
    return build_prompt(task, Random(derive_seed("eval", seed, task.id, sample)))
