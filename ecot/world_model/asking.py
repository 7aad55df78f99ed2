"""A candidate as a prompt, and what may be answered: the same for every way to run the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ecot.data_mix.layout import control_pattern
from ecot.data_mix.rendering import Renderer
from ecot.errors import ConfigError, DataError
from ecot.inference.stopping import end_of_turn_ids
from ecot.outcomes import Domain, Label
from ecot.tasks.bundle import Task
from ecot.world_model.environment import Question
from ecot.world_model.outcome_text import Outcome, Verdict, read_outcome

Scores = Mapping[Verdict, float]
"""Log-probability of each verdict's header after the prompt."""


@dataclass(frozen=True)
class Prompt:
    """A question as the model reads it."""

    domain: Domain
    ids: tuple[int, ...]
    """Tokens up to the beginning of the model's turn."""


@dataclass(frozen=True)
class Prediction:
    """What the model says of one candidate."""

    scores: Scores
    outcome: Outcome
    """The likeliest verdict, with diagnostics and metrics."""


class Predictor(Protocol):
    """Runs a world model."""

    def prompt(self, task: Task, code: str) -> Prompt:
        """What the model's turn follows; see `Asker.prompt`."""
        ...

    def predict(
        self, prompts: Sequence[Prompt], progress: Callable[[int], None] = lambda done: None
    ) -> list[Prediction]:
        """Predict some outcomes, results in the order given; `progress` is told how many are scored."""
        ...


class Asker:
    """Knows the model's tokenizer and template, its verdicts and its room.

    Args:
        renderer: as the model was trained with.
        verdicts: what may be predicted, by domain.
        question: how environments are told, as in training.
        positions: of the model, for prompt and answer.
        max_new_tokens: longest diagnostics.
    """

    def __init__(
        self,
        renderer: Renderer,
        verdicts: Mapping[Domain, Sequence[Verdict]],
        question: Question,
        positions: int,
        max_new_tokens: int,
    ) -> None:
        self.renderer = renderer
        self.question = question
        self.max_new_tokens = max_new_tokens
        self.verdicts = {domain: tuple(sorted(found)) for domain, found in verdicts.items()}
        self.headers = {
            verdict: tuple(renderer.token_ids(verdict.header)) for found in self.verdicts.values() for verdict in found
        }
        """The tokens that each verdict begins the answer with."""
        self._room = positions - max_new_tokens - max(map(len, self.headers.values()), default=0)
        self._end_ids: tuple[int, ...] = ()
        self._control = control_pattern(renderer.tokenizer)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end the model's turn; known after the first prompt."""
        assert self._end_ids, "ask for a prompt first"
        return self._end_ids

    def prompt(self, task: Task, code: str) -> Prompt:
        """What the model's turn follows.

        Raises:
            ConfigError: the model has not learnt the task's domain.
            DataError: the text cannot be rendered, or leaves no room for an outcome in the model's positions.
        """
        if task.domain not in self.verdicts:
            known = ", ".join(sorted(self.verdicts))
            raise ConfigError(f"task {task.id}: the world model has not learnt domain {task.domain}; it knows {known}")
        messages = self.question.messages(task, code)
        self.renderer.check_texts(messages)
        if not self._end_ids:
            self._end_ids = end_of_turn_ids(self.renderer, messages)
        ids = self.renderer.token_ids(self.renderer.generation_prompt(messages))
        if len(ids) > self._room:
            raise DataError(
                f"task {task.id}: environment and candidate have {len(ids)} tokens, with room for {self._room}"
            )
        return Prompt(task.domain, tuple(ids))

    def prediction(self, scores: Scores, verdict: Verdict, text: str) -> Prediction:
        """What was predicted, from the text that the model wrote after the verdict's header.

        Control tokens are taken out, which could open turns in the next prompt. Nothing written there changes the
        header, unless it lengthens the name of the stage: then it is no text.
        """
        while self._control.search(text):  # spelled out, or joined from what stood around one
            text = self._control.sub("", text)
        outcome = read_outcome(verdict.header + text)
        if outcome is None or outcome.verdict != verdict:
            outcome = Outcome(verdict, "", {})
        return Prediction(scores, outcome)


def best(scores: Scores) -> Verdict:
    """The likeliest verdict of the likeliest label; of labels or verdicts that are even, the first in order."""
    labels = label_scores(scores)
    label = max(sorted(labels), key=lambda name: labels[name])
    return max((v for v in sorted(scores) if v.label == label), key=lambda verdict: scores[verdict])


def label_scores(scores: Scores) -> dict[Label, float]:
    """Log-probability of each label: of any of its verdicts."""
    found: dict[Label, list[float]] = {}
    for verdict, score in sorted(scores.items()):
        found.setdefault(verdict.label, []).append(score)
    return {label: _log_sum(several) for label, several in found.items()}


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(math.fsum(math.exp(value - top) for value in values))
