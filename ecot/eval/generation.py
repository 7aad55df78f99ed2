"""Batched generation: many prompts at once, each completed as if it were alone.

Shape legend: B prompts of a batch, L padded prompt length, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen."""

    max_new_tokens: int
    temperature: float = 0.0
    """0: the likeliest token."""
    top_p: float = 1.0


@dataclass(frozen=True)
class Generated:
    """The tokens after one prompt."""

    ids: tuple[int, ...]
    """The end-of-turn token included, if it was reached."""
    stopped: bool
    """Whether the end-of-turn token was reached."""


class SeededNoise(LogitsProcessor):
    """Adds Gumbel noise from one generator per sequence: the maximum is then a sample from the softmax.

    Drawing with `multinomial` would take the batch's sequences from one stream of random numbers, so that a completion
    would change with the batch it is drawn in.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Perturb the scores [B, V]."""
        noise = torch.empty_like(scores, dtype=torch.float32)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return scores.float() - noise.clamp_min_(torch.finfo(torch.float32).tiny).log_()


class BatchGenerator:
    """Completes prompts with a causal model.

    Args:
        model: with its own forward (a scoring head must not be installed: transformers reads the forward's signature to
            decide whether padded prompts need position ids).
        end_id: the token that ends a turn.
        pad_id: fills shorter prompts on the left; it is masked.
        sampling: how tokens are chosen.
        batch_size: prompts at once.
    """

    def __init__(self, model: PreTrainedModel, end_id: int, pad_id: int, sampling: Sampling, batch_size: int) -> None:
        assert {"position_ids", "attention_mask"} <= set(inspect.signature(model.forward).parameters)
        self.model = model
        self.end_id = end_id
        self.pad_id = pad_id
        self.sampling = sampling
        self.batch_size = batch_size

    @property
    def longest_prompt(self) -> int:
        """Tokens that a prompt may have if the completion is to fit the model's positions."""
        return int(self.model.config.max_position_embeddings) - self.sampling.max_new_tokens

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[Generated]:
        """Complete each prompt (token ids), with one seed each; results in the order given.

        Prompts of similar length share a batch. `progress` is told how many are done.

        Raises:
            ValueError: a prompt is longer than `longest_prompt`.
        """
        too_long = max((len(prompt) for prompt in prompts), default=0)
        if too_long > self.longest_prompt:
            raise ValueError(
                f"a prompt has {too_long} tokens; with max_new_tokens {self.sampling.max_new_tokens} the model's "
                f"{self.model.config.max_position_embeddings} positions leave room for {self.longest_prompt}"
            )
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        results: dict[int, Generated] = {}
        for begin in range(0, len(order), self.batch_size):
            batch = order[begin : begin + self.batch_size]
            completed = self._complete([prompts[index] for index in batch], [seeds[index] for index in batch])
            results.update(zip(batch, completed, strict=True))
            progress(len(results))
        return [results[index] for index in range(len(prompts))]

    @torch.no_grad()
    def _complete(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Generated]:
        device = self.model.device
        longest = max(len(prompt) for prompt in prompts)
        ids_BL = torch.full((len(prompts), longest), self.pad_id, dtype=torch.int64)
        mask_BL = torch.zeros_like(ids_BL)
        for row, prompt in enumerate(prompts):
            ids_BL[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask_BL[row, longest - len(prompt) :] = 1
        settings = GenerationConfig(
            max_new_tokens=self.sampling.max_new_tokens,
            do_sample=False,
            eos_token_id=self.end_id,
            pad_token_id=self.pad_id,
        )
        output = self.model.generate(
            ids_BL.to(device),
            attention_mask=mask_BL.to(device),
            generation_config=settings,
            logits_processor=self._processors(seeds),
        )
        return [self._cut(row) for row in output[:, longest:].tolist()]

    def _processors(self, seeds: Sequence[int]) -> LogitsProcessorList:
        processors = LogitsProcessorList()
        if self.sampling.temperature > 0:
            processors.append(TemperatureLogitsWarper(float(self.sampling.temperature)))
            if self.sampling.top_p < 1:
                processors.append(TopPLogitsWarper(self.sampling.top_p))
            processors.append(SeededNoise(seeds, self.model.device))
        return processors

    def _cut(self, ids: list[int]) -> Generated:
        """Drop what `generate` pads after the end of a turn."""
        if self.end_id in ids:
            return Generated(tuple(ids[: ids.index(self.end_id) + 1]), True)
        return Generated(tuple(ids), False)
