"""Predictions of a world model: how likely each verdict is, then the diagnostics of the likeliest.

The verdict is not sampled. All verdicts that the domain knows are scored in one pass over the prompt and one over their
texts side by side, each of which sees the prompt and itself alone; so every prediction is of our form, and its
probabilities are those of the taxonomy.

Shape legend: P tokens of the prompt, S tokens of all headers side by side, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from ecot.data_mix.rendering import Renderer
from ecot.errors import ConfigError, DataError
from ecot.inference.generation import BatchGenerator, Sampling
from ecot.inference.stopping import end_of_turn_ids
from ecot.outcomes import Domain
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


class Predictor:
    """Predicts outcomes with a causal model.

    Args:
        model: an export of a world model, with SDPA or eager attention.
        tokenizer: its own.
        renderer: as it was trained with.
        verdicts: what may be predicted, by domain.
        question: how environments are told, as in training.
        max_new_tokens: longest diagnostics.
        batch_size: candidates whose diagnostics are written at once.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        renderer: Renderer,
        verdicts: Mapping[Domain, Sequence[Verdict]],
        question: Question,
        max_new_tokens: int,
        batch_size: int,
    ) -> None:
        self.model = model
        self.renderer = renderer
        self.question = question
        self.pad_id = int(tokenizer.pad_token_id)
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.verdicts = {domain: tuple(sorted(found)) for domain, found in verdicts.items()}
        self._headers = {
            verdict: renderer.token_ids(verdict.header) for found in self.verdicts.values() for verdict in found
        }
        self._generator: BatchGenerator | None = None
        self._seen: tuple[int, ...] = ()
        self._cache: DynamicCache | None = None

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
        if self._generator is None:
            ends = end_of_turn_ids(self.renderer, messages)
            sampling = Sampling(self.max_new_tokens)
            self._generator = BatchGenerator(self.model, ends, self.pad_id, sampling, self.batch_size)
        ids = self.renderer.token_ids(self.renderer.generation_prompt(messages))
        room = self._generator.longest_prompt - max(map(len, self._headers.values()))
        if len(ids) > room:
            raise DataError(
                f"task {task.id}: environment and candidate have {len(ids)} tokens; there is room for {room}"
            )
        return Prompt(task.domain, tuple(ids))

    def predict(
        self, prompts: Sequence[Prompt], progress: Callable[[int], None] = lambda done: None
    ) -> list[Prediction]:
        """Predict some outcomes, results in the order given; `progress` is told how many are scored."""
        scores: dict[int, Scores] = {}
        # Neighbours in this order share the most: the candidates of a task come one after another.
        for index in sorted(range(len(prompts)), key=lambda index: prompts[index].ids):
            scores[index] = self.score(prompts[index].ids, self.verdicts[prompts[index].domain])
            progress(len(scores))
        self._seen = ()
        self._cache = None
        chosen = [best(scores[index]) for index in range(len(prompts))]
        begun = [[*prompt.ids, *self._headers[verdict]] for prompt, verdict in zip(prompts, chosen, strict=True)]
        outcomes = [_outcome(*pair) for pair in zip(chosen, self._write(begun), strict=True)]
        return [Prediction(scores[index], outcome) for index, outcome in enumerate(outcomes)]

    @torch.inference_mode()
    def score(self, ids: Sequence[int], verdicts: Sequence[Verdict]) -> dict[Verdict, float]:
        """Log-probability of each verdict's header after a prompt of token ids."""
        headers = [self._headers[verdict] for verdict in verdicts]
        device = self.model.device
        cache, known = self._known_part(ids)
        rest_1P = torch.tensor([ids[known:]], device=device)
        last_V = self.model(input_ids=rest_1P, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
        flat, owner, position = _side_by_side(headers, len(ids))
        mask_SP = self._mask(owner, len(ids)).to(device)
        logits_SV = self.model(
            input_ids=torch.tensor([flat], device=device),
            position_ids=torch.tensor([position], device=device),
            attention_mask=mask_SP[None, None],
            past_key_values=cache,
            use_cache=True,
        ).logits[0]
        cache.crop(-len(flat))
        first_V = last_V.float().log_softmax(-1)
        logs_SV = logits_SV.float().log_softmax(-1)
        found, begin = {}, 0
        for verdict, header in zip(verdicts, headers, strict=True):
            steps = [logs_SV[begin + place, token] for place, token in enumerate(header[1:])]
            found[verdict] = float(first_V[header[0]] + sum(steps))
            begin += len(header)
        return found

    def _known_part(self, ids: Sequence[int]) -> tuple[DynamicCache, int]:
        """A cache of the tokens that the prompt before began with too, and how many these are: all but one at most."""
        shared = next((n for n, pair in enumerate(zip(self._seen, ids, strict=False)) if pair[0] != pair[1]), None)
        shared = min(len(self._seen), len(ids)) if shared is None else shared
        shared = min(shared, len(ids) - 1)
        self._seen = tuple(ids)
        if self._cache is None or not shared:
            self._cache, shared = DynamicCache(config=self.model.config.get_text_config(decoder=True)), 0
        else:
            surplus = self._cache.get_seq_length() - shared
            if surplus:  # 0 would mean all of them
                self._cache.crop(-surplus)
        return self._cache, shared

    def _mask(self, owner: Sequence[int], prompt: int) -> Tensor:
        """What is added to the scores [S, P + S]: a header sees the prompt and what comes before in itself."""
        owner_S = torch.tensor(owner)
        own_SS = (owner_S[:, None] == owner_S[None, :]).tril()
        seen_SP = torch.cat([torch.ones(len(owner), prompt, dtype=torch.bool), own_SS], dim=1)
        dtype = self.model.dtype
        return torch.zeros(seen_SP.shape, dtype=dtype).masked_fill_(~seen_SP, torch.finfo(dtype).min)

    def _write(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        if not prompts:
            return []
        assert self._generator is not None
        completed = self._generator.generate(prompts, [0] * len(prompts))
        return [self.renderer.decode(made.ids[: -1 if made.stopped else None]) for made in completed]


def best(scores: Scores) -> Verdict:
    """The likeliest verdict of the likeliest label; of labels or verdicts that are even, the first in order."""
    labels: dict[str, float] = {}
    for verdict, score in scores.items():
        known = labels.get(verdict.label)
        labels[verdict.label] = score if known is None else _log_add(known, score)
    label = max(sorted(labels), key=lambda name: labels[name])
    return max((v for v in sorted(scores) if v.label == label), key=lambda verdict: scores[verdict])


def label_scores(scores: Scores) -> dict[Any, float]:
    """Log-probability of each label: of any of its verdicts."""
    found: dict[Any, float] = {}
    for verdict, score in sorted(scores.items()):
        found[verdict.label] = _log_add(found[verdict.label], score) if verdict.label in found else score
    return found


def _log_add(left: float, right: float) -> float:
    return float(torch.logaddexp(torch.tensor(left, dtype=torch.float64), torch.tensor(right, dtype=torch.float64)))


def _side_by_side(headers: Sequence[Sequence[int]], prompt: int) -> tuple[list[int], list[int], list[int]]:
    """All headers in one row: token ids, which header each belongs to, and its position after the prompt."""
    flat = [token for header in headers for token in header]
    owner = [number for number, header in enumerate(headers) for _ in header]
    position = [prompt + place for header in headers for place in range(len(header))]
    return flat, owner, position


def _outcome(verdict: Verdict, text: str) -> Outcome:
    outcome = read_outcome(verdict.header + text)
    # What was written after the header cannot change it, unless it lengthens the name of the stage.
    return outcome if outcome is not None and outcome.verdict == verdict else Outcome(verdict, "", {})
