"""Attention over packs that lie in stretches on several ranks: DeepSpeed Ulysses (arXiv 2309.14509), our own kernels.

A rank has all heads of its stretch. Before attention the ranks of a sequence group exchange, so that each has some
heads of the whole pack, and attention sees the documents as they are; after it they exchange back. Everything else
works on the stretch alone.

Our own lines instead of DeepSpeed's `UlyssesSPAttentionHF`: that gathers positions in every layer, and with
flex_attention it forgets document boundaries; accelerate, which would set it up, refuses attention names it does not
know. Queries, keys and values go in one exchange here instead of three.

Shape legend: R sequence ranks, t tokens of a stretch, T = R t of the pack, H query heads, K key and value heads,
K' = max(K, R), h = H / R, k = K' / R, d head width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ecot.kernels.attention.interface import attention_mask

SUFFIX = "_across_ranks"
"""Of the name under which transformers knows an attention that runs across a sequence group."""


def sequence_group(sequence_ranks: int) -> dist.ProcessGroup:
    """This rank's group of neighbours: a collective call of all ranks."""
    group, _ = dist.new_subgroups(group_size=sequence_ranks)
    assert group is not None
    return group


def attend_across(model: PreTrainedModel, group: dist.ProcessGroup) -> None:
    """Have a model attend across the ranks of a group, in place.

    From then on a batch with document boundaries is this rank's stretch of a pack: the boundaries are those of the
    whole pack, whose tokens divide evenly over the ranks. Batches without boundaries (generation, a milestone's probe)
    are whole on every rank, as before.
    """
    name = model.config._attn_implementation
    across = partial(_attention_forward, ALL_ATTENTION_FUNCTIONS[name], group)
    AttentionInterface.register(name + SUFFIX, across)
    AttentionMaskInterface.register(name + SUFFIX, attention_mask)
    model.set_attn_implementation(name + SUFFIX)


def _attention_forward(
    attend: Callable[..., tuple[Tensor, None]],
    group: dist.ProcessGroup,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor | None = None,
    cu_seq_lens_q: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """One layer: query [1, H, t, d], key and value [1, K, t, d] -> [1, t, H, d]."""
    if cu_seq_lens_q is None:
        return attend(module, query, key, value, attention_mask, position_ids=position_ids, **kwargs)
    if position_ids is not None and module.layer_idx == 0:
        check_stretch(position_ids, cu_seq_lens_q, dist.get_rank(group))
    query_tHd, key_tKd, value_tKd = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    heads = gather_tokens(query_tHd, key_tKd, value_tKd, group)
    whole = (tensor.transpose(0, 1)[None] for tensor in heads)
    # Positions were applied to queries and keys already, and those of the stretch are not the pack's.
    output, _ = attend(module, *whole, attention_mask, position_ids=None, cu_seq_lens_q=cu_seq_lens_q, **kwargs)
    return gather_heads(output[0], group)[None], None


def gather_tokens(
    query_tHd: Tensor, key_tKd: Tensor, value_tKd: Tensor, group: dist.ProcessGroup
) -> tuple[Tensor, Tensor, Tensor]:
    """All heads of a stretch -> this rank's heads of the whole pack: [T, h, d], and [T, k, d] twice.

    Rank r of the group gets query heads r h .. (r + 1) h - 1 and the key and value heads that belong to them.
    """
    ranks, kv_heads = dist.get_world_size(group), key_tKd.shape[1]
    # A head that several ranks attend with goes to each of them; autograd adds up what comes back.
    if ranks > kv_heads:
        key_tKd, value_tKd = (tensor.repeat_interleave(ranks // kv_heads, dim=1) for tensor in (key_tKd, value_tKd))
    by_rank_Rthd = [tensor.unflatten(1, (ranks, -1)).transpose(0, 1) for tensor in (query_tHd, key_tKd, value_tKd)]
    received_Thd = _Exchange.apply(torch.cat(by_rank_Rthd, dim=2), group).flatten(0, 1)
    query, key, value = received_Thd.split([part.shape[2] for part in by_rank_Rthd], dim=1)
    return query, key, value


def gather_heads(output_Thd: Tensor, group: dist.ProcessGroup) -> Tensor:
    """This rank's heads of the whole pack -> all heads of its stretch, [t, H, d]."""
    received_Rthd = _Exchange.apply(output_Thd.unflatten(0, (dist.get_world_size(group), -1)), group)
    return received_Rthd.transpose(0, 1).flatten(1, 2)


def check_stretch(position_ids: Tensor, cu_seqlens: Tensor, sequence_rank: int) -> None:
    """Refuse positions [1, t] that are not those of the rank's stretch: a batch that was not cut, or cut elsewhere.

    On CUDA the check runs on the device and fails there, so that nothing waits for it.
    """
    count = position_ids.numel()
    places = torch.arange(sequence_rank * count, (sequence_rank + 1) * count, device=position_ids.device)
    document = torch.searchsorted(cu_seqlens, places.to(cu_seqlens.dtype), right=True) - 1
    expected = places - cu_seqlens[document]
    message = "positions are not those of this rank's stretch of the pack; cut packs with Collator(shard=...)"
    torch._assert_async((expected == position_ids.flatten()).all(), message)


class _Exchange(torch.autograd.Function):
    """[R, ...] -> [R, ...]: entry r goes to rank r of the group, and what it sent comes in its place."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _exchange(tensor, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _exchange(gradient, ctx.group), None


def _exchange(tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
    sent = tensor.contiguous()
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    return received
