"""Expansion and compaction as Triton kernels, with the signatures of `reference.py` and the same bits."""

# Arguments of kernels are pointers and numbers of the device; they have no Python types.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ecot.kernels.packing.spans import NO_LABEL, ExpandedPack, ScoringRule, SpanTable

BLOCK = 1024
"""Tokens per program."""


@triton.jit
def _count_not_above(sorted_ptr, length, values, inside, num_steps):
    """For each value, how many of the sorted numbers are <= it: a binary search in `num_steps` steps."""
    low = tl.zeros_like(values)
    high = low + length
    for _ in range(num_steps):
        middle = (low + high) // 2
        open_ = inside & (low < high)
        right = tl.load(sorted_ptr + middle, mask=open_, other=0) <= values
        low = tl.where(open_ & right, middle + 1, low)
        high = tl.where(open_ & (right == 0), middle, high)
    return low


# Sizes differ from pack to pack: compiling anew for those that divide by 16 would stall a step in the middle of a run.
@triton.jit(do_not_specialize=["num_tokens", "num_documents", "num_runs", "search_steps"])
def expand_kernel(
    ids_ptr,
    cu_seqlens_ptr,
    domains_ptr,
    run_ends_ptr,
    run_kinds_ptr,
    run_attempts_ptr,
    run_weights_ptr,
    weights_KA_ptr,
    monitored_KA_ptr,
    position_ids_ptr,
    kinds_ptr,
    labels_ptr,
    weights_ptr,
    groups_ptr,
    scored_ptr,
    num_tokens,
    num_documents,
    num_runs,
    search_steps,
    num_domains,
    NUM_KINDS: tl.constexpr,
    NUM_ATTEMPTS: tl.constexpr,
    NO_LABEL: tl.constexpr,
    WITH_RUN_WEIGHTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Each program expands a block of tokens; kind, weight and group of a label are those of the next token."""
    token = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = token < num_tokens
    document = _count_not_above(cu_seqlens_ptr + 1, num_documents, token, inside, search_steps)
    start = tl.load(cu_seqlens_ptr + document, mask=inside, other=0)
    stop = tl.load(cu_seqlens_ptr + document + 1, mask=inside, other=0)
    run = _count_not_above(run_ends_ptr, num_runs, token, inside, search_steps)
    tl.store(position_ids_ptr + token, (token - start).to(tl.int64), mask=inside)
    tl.store(kinds_ptr + token, tl.load(run_kinds_ptr + run, mask=inside, other=0).to(tl.int8), mask=inside)

    followed = inside & (token + 1 < stop)
    run = _count_not_above(run_ends_ptr, num_runs, token + 1, followed, search_steps)
    kind = tl.load(run_kinds_ptr + run, mask=followed, other=-1)
    attempt = tl.minimum(tl.load(run_attempts_ptr + run, mask=followed, other=0), NUM_ATTEMPTS - 1)
    predicts = followed & (kind >= 0)
    label = tl.load(ids_ptr + token + 1, mask=predicts, other=NO_LABEL).to(tl.int64)
    cell = kind * NUM_ATTEMPTS + attempt
    if WITH_RUN_WEIGHTS:
        weight = tl.load(run_weights_ptr + run, mask=predicts, other=0.0)
    else:
        weight = tl.load(weights_KA_ptr + cell, mask=predicts, other=0.0)
    monitored = tl.load(monitored_KA_ptr + cell, mask=predicts, other=0) != 0
    domain = tl.load(domains_ptr + document, mask=predicts, other=0)
    group = kind + NUM_KINDS * (domain + num_domains * attempt)
    tl.store(labels_ptr + token, label, mask=inside)
    tl.store(weights_ptr + token, weight, mask=inside)
    tl.store(groups_ptr + token, tl.where(predicts, group, -1).to(tl.int64), mask=inside)
    scored = tl.where(weight != 0.0, 1, tl.where(monitored, 2, 0))
    tl.store(scored_ptr + token, scored.to(tl.int8), mask=inside)


@triton.jit(do_not_specialize=["num_tokens", "num_blocks"])
def count_kernel(scored_ptr, counts_ptr, num_tokens, num_blocks, BLOCK: tl.constexpr):
    """Trained rows of each block into the first half of `counts`, monitored ones into the second."""
    block = tl.program_id(0)
    token = block * BLOCK + tl.arange(0, BLOCK)
    scored = tl.load(scored_ptr + token, mask=token < num_tokens, other=0)
    tl.store(counts_ptr + block, tl.sum((scored == 1).to(tl.int32), axis=0))
    tl.store(counts_ptr + num_blocks + block, tl.sum((scored == 2).to(tl.int32), axis=0))


@triton.jit(do_not_specialize=["num_tokens", "num_blocks", "num_rows"])
def compact_kernel(
    scored_ptr,
    labels_ptr,
    weights_ptr,
    groups_ptr,
    ends_ptr,
    row_index_out_ptr,
    labels_out_ptr,
    weights_out_ptr,
    groups_out_ptr,
    num_tokens,
    num_blocks,
    num_rows,
    BLOCK: tl.constexpr,
):
    """Each program writes the scored rows of a block behind those of the blocks before it."""
    block = tl.program_id(0)
    token = block * BLOCK + tl.arange(0, BLOCK)
    scored = tl.load(scored_ptr + token, mask=token < num_tokens, other=0)
    for half in range(2):
        chosen = scored == half + 1
        flags = chosen.to(tl.int32)
        before = tl.load(ends_ptr + half * num_blocks + block).to(tl.int32) - tl.sum(flags, axis=0)
        place = before + tl.cumsum(flags, axis=0) - 1
        chosen = chosen & (place < num_rows)
        tl.store(row_index_out_ptr + place, token.to(tl.int64), mask=chosen)
        tl.store(labels_out_ptr + place, tl.load(labels_ptr + token, mask=chosen, other=0), mask=chosen)
        tl.store(weights_out_ptr + place, tl.load(weights_ptr + token, mask=chosen, other=0.0), mask=chosen)
        tl.store(groups_out_ptr + place, tl.load(groups_ptr + token, mask=chosen, other=0), mask=chosen)


def expand(ids_T: Tensor, table: SpanTable, rule: ScoringRule) -> ExpandedPack:
    """As `reference.expand`."""
    num_tokens, device = len(ids_T), ids_T.device
    num_documents, num_runs = len(table.domains), len(table.run_ends)
    num_kinds, num_attempts = rule.weights_KA.shape
    pack = ExpandedPack(
        position_ids=torch.empty(num_tokens, dtype=torch.int64, device=device),
        kinds=torch.empty(num_tokens, dtype=torch.int8, device=device),
        labels=torch.empty(num_tokens, dtype=torch.int64, device=device),
        weights=torch.empty(num_tokens, dtype=torch.float32, device=device),
        groups=torch.empty(num_tokens, dtype=torch.int64, device=device),
        scored=torch.empty(num_tokens, dtype=torch.int8, device=device),
    )
    with torch.cuda.device_of(ids_T):
        expand_kernel[(triton.cdiv(num_tokens, BLOCK),)](
            ids_T.contiguous(),
            table.cu_seqlens,
            table.domains,
            table.run_ends,
            table.kinds,
            table.attempts,
            rule.weights_KA if table.weights is None else table.weights,
            rule.weights_KA.contiguous(),
            rule.monitored_KA.contiguous().to(torch.int8),
            pack.position_ids,
            pack.kinds,
            pack.labels,
            pack.weights,
            pack.groups,
            pack.scored,
            num_tokens,
            num_documents,
            num_runs,
            max(num_documents, num_runs).bit_length(),
            rule.num_domains,
            NUM_KINDS=num_kinds,
            NUM_ATTEMPTS=num_attempts,
            NO_LABEL=NO_LABEL,
            WITH_RUN_WEIGHTS=table.weights is not None,
            BLOCK=BLOCK,
        )
    return pack


def compact(pack: ExpandedPack, num_trained: int, num_monitored: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `reference.compact`, without waiting for the device: so the announced numbers are not checked."""
    num_tokens, num_rows, device = len(pack.labels), num_trained + num_monitored, pack.labels.device
    num_blocks = triton.cdiv(num_tokens, BLOCK)
    row_index, labels, groups = torch.empty(3, num_rows, dtype=torch.int64, device=device)
    weights = torch.empty(num_rows, dtype=torch.float32, device=device)
    with torch.cuda.device_of(pack.labels):
        counts = torch.empty(2 * num_blocks, dtype=torch.int32, device=device)
        count_kernel[(num_blocks,)](pack.scored, counts, num_tokens, num_blocks, BLOCK=BLOCK)
        compact_kernel[(num_blocks,)](
            pack.scored,
            pack.labels,
            pack.weights,
            pack.groups,
            counts.cumsum(0),
            row_index,
            labels,
            weights,
            groups,
            num_tokens,
            num_blocks,
            num_rows,
            BLOCK=BLOCK,
        )
    return row_index, labels, weights, groups
