"""Hidden states of a real forward pass, and a head that predicts as a trained one would.

No trained weights are needed: a two-layer Llama of the measured width with random weights reads a token stream with
the statistics of text (Zipf-distributed, each token followed by few others), and the head is fitted to the hidden
states so that the mean negative log-likelihood is about 1. Noise in both places would give flat
probabilities of 1 / V, which flatters implementations that skip small gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaModel

from benchmarks.kernels.shapes import Head
from ecot.kernels.linear_cross_entropy import ScoredRows

TARGET_NLL = 1.0
SUCCESSORS = 32


@dataclass(frozen=True)
class Case:
    """What every provider gets. The loss is the mean over the supervised rows."""

    hidden_TD: Tensor  # noqa: N815
    weight_VD: Tensor  # noqa: N815
    labels_T: Tensor  # noqa: N815
    """-100 where not supervised."""
    rows: ScoredRows
    mean_nll: float


def make_case(head: Head, tokens: int, share: float, dtype: torch.dtype, device: str, seed: int = 0) -> Case:
    """Inputs of one measurement, the same for the same arguments."""
    generator = torch.Generator().manual_seed(seed)
    ids = token_stream(tokens + 1, head.vocab, generator)
    hidden = hidden_states(ids[:-1], head, dtype, device)
    labels = ids[1:].to(device)
    weight, mean_nll = trained_head(hidden, labels, head.vocab, dtype)
    supervised = torch.zeros(tokens, dtype=torch.bool)
    # In runs of 64, as turns of a conversation are.
    turns = torch.randperm(tokens // 64, generator=generator)[: round(share * (tokens // 64))]
    supervised.view(-1, 64)[turns] = True
    row_index = supervised.nonzero()[:, 0]
    rows = ScoredRows(
        row_index,
        ids[1:][row_index],
        torch.ones(len(row_index)),
        torch.arange(len(row_index)) % 4,
        num_groups=192,
    ).to(device)
    dense_labels = torch.where(supervised.to(device), labels, -100)
    return Case(hidden.requires_grad_(), weight.requires_grad_(), dense_labels, rows, mean_nll)


def token_stream(length: int, vocab: int, generator: torch.Generator) -> Tensor:
    """[length] int64: a chain in which each token is followed by one of 32 tokens, all Zipf-distributed."""
    zipf = 1 / torch.arange(1, vocab + 1, dtype=torch.float64)
    successors = torch.multinomial(zipf, vocab * SUCCESSORS, replacement=True, generator=generator)
    choices = torch.multinomial(zipf[:SUCCESSORS], length, replacement=True, generator=generator)
    table, stream, token = successors.view(vocab, SUCCESSORS).numpy(), [], 0
    for choice in choices.tolist():
        token = int(table[token, choice])
        stream.append(token)
    return torch.tensor(stream)


@torch.no_grad()
def hidden_states(ids: Tensor, head: Head, dtype: torch.dtype, device: str) -> Tensor:
    """[T, D] of a two-layer Llama with random weights, in sequences of at most 2048 tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=head.vocab,
        hidden_size=head.width,
        intermediate_size=2 * head.width,
        num_hidden_layers=2,
        num_attention_heads=head.width // 64,
        num_key_value_heads=head.width // 64,
    )
    with torch.device(device):
        model = LlamaModel(config).to(dtype)
    sequences = ids.to(device).split(2048)
    return torch.cat([model(sequence[None], use_cache=False).last_hidden_state[0] for sequence in sequences])


@torch.no_grad()
def trained_head(hidden_TD: Tensor, labels_T: Tensor, vocab: int, dtype: torch.dtype) -> tuple[Tensor, float]:
    """A head [V, D], and the mean nll that it reaches.

    It is the ridge regression of the labels on the hidden states, over small noise, scaled so that the mean nll comes
    as near to the target as it can.
    """
    states = hidden_TD.float()
    width = states.shape[1]
    sums = torch.zeros(vocab, width, device=states.device).index_add_(0, labels_T, states)
    gram = states.t() @ states
    gram.diagonal().add_(1e-2 * gram.diagonal().mean())
    fitted = torch.linalg.solve(gram, sums.t()).t()
    noise = torch.randn(vocab, width, generator=torch.Generator().manual_seed(1)).to(states.device) / width**0.5
    sample = torch.arange(0, len(states), max(1, len(states) // 512), device=states.device)
    from_noise, from_fit = (states[sample] @ part.t() for part in (noise, fitted))

    def nll(margin: float) -> float:
        return float(torch.nn.functional.cross_entropy(from_noise + margin * from_fit, labels_T[sample]))

    reached = {margin: nll(margin) for margin in (1.5**power for power in range(15))}
    margin = min(reached, key=lambda margin: abs(reached[margin] - TARGET_NLL))
    return (noise + margin * fitted).to(dtype), reached[margin]
