"""Where the documents of a packed batch begin and end, and how a model is told.

Shape legend: T packed tokens, N documents.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def model_inputs(
    input_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor | None = None, max_seqlen: int | None = None
) -> dict[str, Any]:
    """Keyword arguments for a transformers model, with which no implementation lets a document see another.

    transformers 5 mixes packed documents without a word when `use_cache` is left at its default, when a mask of ones is
    passed, or when the boundaries come without positions; so all of it is set here.

    Args:
        input_ids: [1, T] packed, or [B, L] right-padded rows.
        position_ids: of the same shape, from 0 in every document.
        cu_seqlens: [N + 1] int32 on the model's device, from 0 to T; the padded tail is a document of its own. None for
            right-padded rows.
        max_seqlen: length of the longest document, an int (a tensor would make every layer wait for the device).

    Raises:
        ValueError: shapes or types are not those above.
    """
    if position_ids.shape != input_ids.shape:
        raise ValueError(
            f"position_ids are {tuple(position_ids.shape)} and input_ids {tuple(input_ids.shape)}; each token needs one"
        )
    inputs: dict[str, Any] = {
        "input_ids": input_ids,
        "position_ids": position_ids,
        "attention_mask": None,
        "use_cache": False,
    }
    if cu_seqlens is None:
        return inputs
    if input_ids.shape[0] != 1 or cu_seqlens.dtype != torch.int32 or not isinstance(max_seqlen, int):
        raise ValueError(
            f"a packed batch is one row with int32 boundaries and an int max_seqlen; got {input_ids.shape[0]} rows, "
            f"{cu_seqlens.dtype} and {type(max_seqlen).__name__}"
        )
    return inputs | {
        "cu_seq_lens_q": cu_seqlens,
        "cu_seq_lens_k": cu_seqlens,
        "max_length_q": max_seqlen,
        "max_length_k": max_seqlen,
    }


def boundaries_from_positions(position_ids: Tensor) -> Tensor | None:
    """Boundaries [N + 1] int32 of the flattened rows where positions restart; None if they do so at row starts only.

    Reads values, so on CUDA it waits for the device.
    """
    first = position_ids[:, :1] - 1
    restarts = torch.diff(position_ids, dim=1, prepend=first) != 1
    if not restarts.any():
        return None
    restarts[:, 0] = True
    starts = restarts.flatten().nonzero()[:, 0]
    return torch.cat([starts, starts.new_tensor([position_ids.numel()])]).to(torch.int32)


def check_positions(position_ids: Tensor, cu_seqlens: Tensor) -> None:
    """Refuse boundaries whose documents do not start at position 0: the model counted on across them.

    On CUDA the check runs on the device and fails there, so that nothing waits for it.
    """
    starts, stops = cu_seqlens[:-1], cu_seqlens[1:]
    at_start = position_ids.flatten()[starts.clamp(max=position_ids.numel() - 1)]
    message = "document boundaries came without position_ids that restart at 0 in each document; use model_inputs(...)"
    torch._assert_async(((at_start == 0) | (starts == stops)).all(), message)
