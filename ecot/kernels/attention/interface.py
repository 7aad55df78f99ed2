"""The registration with transformers: `ecot_varlen`, and one name more for each implementation to choose by hand.

`ecot_varlen_sdpa`, `ecot_varlen_torch`, and `ecot_varlen_fa2`, `_fa3`, `_fa4` where flash-attn is installed. (None is
called "flash": transformers would take it for its own.)

Shape legend: B rows, H query heads, K key and value heads, T tokens, S keys, d head width.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ecot.kernels.attention.documents import boundaries_from_positions, check_positions
from ecot.kernels.attention.ragged import RaggedAttention, causal_band, implementations

NAME = "ecot_varlen"
"""The name for `attn_implementation`."""

_REFUSED = ("softcap", "s_aux", "position_bias")


def register_attention() -> None:
    """Make the names known to transformers. Importing `ecot.kernels.attention` has done so."""
    for suffix, attend in implementations().items():
        AttentionInterface.register(NAME + suffix, partial(attention_forward, attend))
        AttentionMaskInterface.register(NAME + suffix, attention_mask)


def attention_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    *args: Any,
    attention_mask: Tensor | None = None,
    **kwargs: Any,
) -> Tensor | None:
    """None for batches without a padding mask or a cache; otherwise (generation) the mask of the `sdpa` implementation.

    Document boundaries and windows are no business of a mask here: the attention itself keeps to them.
    """
    if attention_mask is None and q_length == kv_length:
        return None
    return sdpa_mask(batch_size, q_length, kv_length, *args, attention_mask=attention_mask, **kwargs)


def attention_forward(
    attend: RaggedAttention,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_ids: Tensor | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: Tensor | None = None,
    cu_seq_lens_k: Tensor | None = None,
    max_length_q: int | None = None,
    max_length_k: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer: query [B, H, T, d], key and value [B, K, S, d] -> [B, T, H, d].

    With `cu_seq_lens_q/k` and `max_length_q/k`, attention within each document of the one packed row. Without them,
    causal attention over each row, or over each document of the rows where the positions restart inside of them.

    Raises:
        ValueError: boundaries together with a mask, a cache or positions that do not restart; or an option that this
            implementation does not have.
    """
    refused = [name for name in _REFUSED if kwargs.get(name) is not None]
    if refused or dropout:
        raise ValueError(f"{NAME} has no {', '.join(refused) or 'dropout'}; set attn_implementation to sdpa or eager")
    whole = attention_mask is None and query.shape[2] == key.shape[2]
    boundaries, longest = cu_seq_lens_q, max_length_q
    if boundaries is not None:
        if not whole or query.shape[0] != 1 or cu_seq_lens_k is None or max_length_q is None or max_length_k is None:
            raise ValueError(
                f"{NAME} got document boundaries together with an attention mask, a filled cache or more than one row, "
                "or without all of cu_seq_lens_q/k and max_length_q/k; use ecot.kernels.attention.model_inputs(...)"
            )
        if position_ids is not None and module.layer_idx == 0:
            check_positions(position_ids, boundaries)
    elif whole and position_ids is not None and query.shape[2] > 1:
        boundaries = boundaries_from_positions(position_ids.expand(query.shape[0], -1))
        longest = query.shape[2]
    if boundaries is None or longest is None:
        return _attend_to_rows(module, query, key, value, attention_mask, scaling, sliding_window, kwargs)
    query_THd, key_TKd, value_TKd = (tensor.transpose(1, 2).flatten(0, 1) for tensor in (query, key, value))
    output = attend(query_THd, key_TKd, value_TKd, boundaries, longest, scaling, sliding_window)
    return output.unflatten(0, (query.shape[0], query.shape[2])), None


def _attend_to_rows(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    window: int | None,
    kwargs: dict[str, Any],
) -> tuple[Tensor, None]:
    length = query.shape[2]
    if mask is None and window is not None and length > window:
        mask = causal_band(length, window, query.device)[None, None]
    return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, is_causal=kwargs.get("is_causal"))
