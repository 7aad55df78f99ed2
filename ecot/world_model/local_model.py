"""A world model run in this process.

The verdict is not sampled. All verdicts that the domain knows are scored in one pass over the prompt and one over their
headers side by side, each of which sees the prompt and itself alone; so every prediction is of our form, and its
probabilities are those of the taxonomy.

Shape legend: P tokens of the prompt, S tokens of all headers side by side, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from ecot.inference.generation import BatchGenerator, Sampling
from ecot.tasks.bundle import Task
from ecot.world_model.asking import Asker, Prediction, Prompt, Scores, best
from ecot.world_model.outcome_text import Verdict


class LocalModel:
    """Predicts outcomes with a causal model.

    Args:
        model: an export of a world model, with SDPA or eager attention.
        asker: how it is asked.
        pad_id: of its tokenizer.
        batch_size: candidates whose diagnostics are written at once.
    """

    def __init__(self, model: PreTrainedModel, asker: Asker, pad_id: int, batch_size: int) -> None:
        self.model = model
        self.asker = asker
        self.pad_id = pad_id
        self.batch_size = batch_size
        self._seen: tuple[int, ...] = ()
        self._cache: DynamicCache | None = None

    def prompt(self, task: Task, code: str) -> Prompt:
        """As `Asker.prompt`."""
        return self.asker.prompt(task, code)

    def predict(
        self, prompts: Sequence[Prompt], progress: Callable[[int], None] = lambda done: None
    ) -> list[Prediction]:
        """Predict some outcomes, results in the order given; `progress` is told how many are scored."""
        scores: dict[int, Scores] = {}
        # Neighbours in this order share the most: the candidates of a task come one after another.
        for index in sorted(range(len(prompts)), key=lambda index: prompts[index].ids):
            scores[index] = self.score(prompts[index].ids, self.asker.verdicts[prompts[index].domain])
            progress(len(scores))
        self._seen, self._cache = (), None
        chosen = [best(scores[index]) for index in range(len(prompts))]
        texts = self._write(
            [[*prompt.ids, *self.asker.headers[verdict]] for prompt, verdict in zip(prompts, chosen, strict=True)]
        )
        return [
            self.asker.prediction(scores[index], verdict, text)
            for index, (verdict, text) in enumerate(zip(chosen, texts, strict=True))
        ]

    @torch.inference_mode()
    def score(self, ids: Sequence[int], verdicts: Sequence[Verdict]) -> dict[Verdict, float]:
        """Log-probability of each verdict's header after a prompt of token ids."""
        headers = [self.asker.headers[verdict] for verdict in verdicts]
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
        sampling = Sampling(self.asker.max_new_tokens)
        generator = BatchGenerator(self.model, self.asker.end_ids, self.pad_id, sampling, self.batch_size)
        completed = generator.generate(prompts, [0] * len(prompts))
        return [self.asker.renderer.decode(made.ids[: -1 if made.stopped else None]) for made in completed]


def _side_by_side(headers: Sequence[Sequence[int]], prompt: int) -> tuple[list[int], list[int], list[int]]:
    """All headers in one row: token ids, which header each belongs to, and its position after the prompt."""
    flat = [token for header in headers for token in header]
    owner = [number for number, header in enumerate(headers) for _ in header]
    position = [prompt + place for header in headers for place in range(len(header))]
    return flat, owner, position
