"""Batched generation: many prompts at once, each completed as if it were alone.

The loop is our own in place of `model.generate`: sequences that have ended leave the batch, the cache is written in
place, and nothing of the export's generation_config (penalties, forced tokens) changes what is measured.

Shape legend: B sequences still in the batch, L padded prompt length, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, TopPLogitsWarper
from transformers.cache_utils import DynamicLayer

CACHE_STEP = 256
"""Tokens by which the cache grows."""


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


class InPlaceLayer(DynamicLayer):
    """Keys and values [B, heads, tokens, head_dim] in a buffer with room to grow: a step copies one token, not all."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append the states of new tokens; returns those of all tokens so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.key_buffer, self.value_buffer = _with_room(key_states), _with_room(value_states)
            self.length = 0
        begin, self.length = self.length, self.length + key_states.shape[-2]
        if self.length > self.key_buffer.shape[-2]:
            self.key_buffer = _with_room(torch.cat([self.key_buffer[..., :begin, :], key_states], dim=-2))
            self.value_buffer = _with_room(torch.cat([self.value_buffer[..., :begin, :], value_states], dim=-2))
        else:
            self.key_buffer[..., begin : self.length, :] = key_states
            self.value_buffer[..., begin : self.length, :] = value_states
        self.keys = self.key_buffer[..., : self.length, :]
        self.values = self.value_buffer[..., : self.length, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some sequences."""
        self.key_buffer, self.value_buffer = self.key_buffer[indices], self.value_buffer[indices]
        self.keys = self.key_buffer[..., : self.length, :]
        self.values = self.value_buffer[..., : self.length, :]


def _with_room(states: Tensor) -> Tensor:
    buffer = states.new_empty((*states.shape[:-2], states.shape[-2] + CACHE_STEP, states.shape[-1]))
    buffer[..., : states.shape[-2], :] = states
    return buffer


def seeded_noise(scores_BV: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Scores plus Gumbel noise from one generator per sequence: the maximum is then a sample from the softmax.

    Drawing with `multinomial` would take the batch's sequences from one stream of random numbers, so that a completion
    would change with the batch it is drawn in.
    """
    noise_BV = torch.empty_like(scores_BV)
    for row, generator in zip(noise_BV, generators, strict=True):
        row.exponential_(generator=generator)
    return scores_BV - noise_BV.clamp_min_(torch.finfo(noise_BV.dtype).tiny).log_()


class BatchGenerator:
    """Completes prompts with a causal model.

    Args:
        model: with its own forward; a scoring head must not be installed.
        end_ids: the tokens that end a turn.
        pad_id: fills shorter prompts on the left; it is masked.
        sampling: how tokens are chosen.
        batch_size: prompts at once.
    """

    def __init__(
        self, model: PreTrainedModel, end_ids: Sequence[int], pad_id: int, sampling: Sampling, batch_size: int
    ) -> None:
        parameters = set(inspect.signature(model.forward).parameters)
        assert {"position_ids", "attention_mask", "logits_to_keep"} <= parameters, "a causal model's own forward"
        self.model = model
        self.end_ids = frozenset(end_ids)
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

    @torch.inference_mode()
    def _complete(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Generated]:
        written: list[list[int]] = [[] for _ in prompts]
        generators = [torch.Generator(self.model.device).manual_seed(seed) for seed in seeds]
        active = list(range(len(prompts)))
        ids_BL, mask_BL = self._pad(prompts)
        positions_BL = (mask_BL.cumsum(dim=1) - 1).clamp_min(0)
        cache = self._new_cache()
        for _ in range(self.sampling.max_new_tokens):
            logits_BV = self.model(
                input_ids=ids_BL,
                attention_mask=mask_BL,
                position_ids=positions_BL,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            chosen_B = self._choose(logits_BV.float(), [generators[index] for index in active])
            for index, token in zip(active, chosen_B.tolist(), strict=True):
                written[index].append(token)
            stay = [row for row, index in enumerate(active) if written[index][-1] not in self.end_ids]
            if not stay:
                break
            if len(stay) < len(active):
                active = [active[row] for row in stay]
                rows_B = torch.tensor(stay, device=chosen_B.device)
                chosen_B, mask_BL, positions_BL = chosen_B[rows_B], mask_BL[rows_B], positions_BL[rows_B]
                cache.batch_select_indices(rows_B)
            ids_BL = chosen_B[:, None]
            mask_BL = torch.nn.functional.pad(mask_BL, (0, 1), value=1)
            positions_BL = positions_BL[:, -1:] + 1
        return [Generated(tuple(ids), ids[-1] in self.end_ids) for ids in written]

    def _pad(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Ids and mask [B, L], prompts on the right."""
        longest = max(len(prompt) for prompt in prompts)
        ids_BL = torch.full((len(prompts), longest), self.pad_id, dtype=torch.int64)
        mask_BL = torch.zeros_like(ids_BL)
        for row, prompt in enumerate(prompts):
            ids_BL[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask_BL[row, longest - len(prompt) :] = 1
        return ids_BL.to(self.model.device), mask_BL.to(self.model.device)

    def _new_cache(self) -> DynamicCache:
        cache = DynamicCache(config=self.model.config.get_text_config(decoder=True))
        # Sliding windows and other layers of their own kind are left as they are.
        cache.layers = [InPlaceLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        return cache

    def _choose(self, logits_BV: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """The next token [B] of each sequence."""
        if self.sampling.temperature == 0:
            return logits_BV.argmax(dim=-1)
        scores_BV = logits_BV / self.sampling.temperature
        if self.sampling.top_p < 1:
            scores_BV = TopPLogitsWarper(self.sampling.top_p)(None, scores_BV)
        return seeded_noise(scores_BV, generators).argmax(dim=-1)
