"""Causal attention within each document of a packed batch: the implementations, all with one signature.

Shape legend: T packed tokens, H query heads, K key and value heads, d head width, N documents.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

RaggedAttention = Callable[[Tensor, Tensor, Tensor, Tensor, int, float | None, int | None], Tensor]
"""(query_THd, key_TKd, value_TKd, cu_seqlens [N + 1] int32, max_seqlen, scale, window) -> [T, H, d]. A token sees the
`window` last tokens of its document, itself among them; None for all."""


def causal_band(length: int, window: int, device: torch.device) -> Tensor:
    """[length, length] bool: which keys (columns) each query sees in a sliding window."""
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return (distance >= 0) & (distance < window)


def per_document_sdpa(
    query_THd: Tensor,
    key_TKd: Tensor,
    value_TKd: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    scale: float | None,
    window: int | None,
) -> Tensor:
    """One `scaled_dot_product_attention` per document: the CPU's implementation and the reference.

    Reads the boundaries, so on CUDA it waits for the device in every layer.
    """
    boundaries = cu_seqlens.tolist()
    if boundaries[0] != 0 or boundaries[-1] != query_THd.shape[0] or sorted(boundaries) != boundaries:
        raise ValueError(
            f"document boundaries {boundaries[:3]}..{boundaries[-1:]} do not run from 0 to the {query_THd.shape[0]} "
            "tokens of the pack"
        )
    lengths = [stop - start for start, stop in itertools.pairwise(boundaries)]
    outputs = []
    # split, not slices: the backward of a slice would fill a tensor of the whole pack for every document.
    for query, key, value in zip(*(tensor.split(lengths) for tensor in (query_THd, key_TKd, value_TKd)), strict=True):
        length = query.shape[0]
        banded = window is not None and length > window
        output = scaled_dot_product_attention(
            query.transpose(0, 1)[None],
            key.transpose(0, 1)[None],
            value.transpose(0, 1)[None],
            attn_mask=causal_band(length, window, query.device) if banded and window is not None else None,
            is_causal=not banded,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        outputs.append(output[0].transpose(0, 1))
    return torch.cat(outputs)


def torch_varlen(
    query_THd: Tensor,
    key_TKd: Tensor,
    value_TKd: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    scale: float | None,
    window: int | None,
) -> Tensor:
    """`torch.nn.attention.varlen.varlen_attn`: CUDA, 16-bit. torch 2.11 has no GQA there, so heads are repeated."""
    from torch.nn.attention.varlen import varlen_attn

    options: dict[str, Any] = {"scale": scale, "window_size": (-1 if window is None else window - 1, 0)}
    repeats = query_THd.shape[1] // key_TKd.shape[1]
    if repeats > 1:
        if "enable_gqa" in inspect.signature(varlen_attn).parameters:
            options["enable_gqa"] = True
        else:
            key_TKd, value_TKd = (tensor.repeat_interleave(repeats, dim=1) for tensor in (key_TKd, value_TKd))
    output = varlen_attn(query_THd, key_TKd, value_TKd, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, **options)
    assert isinstance(output, Tensor)  # not the pair with its logsumexp, which was not asked for
    return output


def flash_attention(
    query_THd: Tensor,
    key_TKd: Tensor,
    value_TKd: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    scale: float | None,
    window: int | None,
    *,
    version: int,
) -> Tensor:
    """flash-attn 2, 3 or 4 as installed, through the wrapper of transformers that knows their signatures."""
    from transformers.modeling_flash_attention_utils import _flash_attention_forward

    output = _flash_attention_forward(
        query_THd[None],
        key_TKd[None],
        value_TKd[None],
        None,
        query_length=query_THd.shape[0],
        is_causal=True,
        softmax_scale=scale,
        sliding_window=window,
        cu_seq_lens_q=cu_seqlens,
        cu_seq_lens_k=cu_seqlens,
        max_length_q=max_seqlen,
        max_length_k=max_seqlen,
        attn_implementation=f"flash_attention_{version}",
    )
    return output.reshape(query_THd.shape)


def automatic(
    query_THd: Tensor,
    key_TKd: Tensor,
    value_TKd: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    scale: float | None,
    window: int | None,
) -> Tensor:
    """torch's own varlen kernel for 16-bit tensors on CUDA, one SDPA per document for everything else."""
    on_tensor_cores = query_THd.is_cuda and query_THd.dtype in (torch.bfloat16, torch.float16)
    attention = torch_varlen if on_tensor_cores else per_document_sdpa
    return attention(query_THd, key_TKd, value_TKd, cu_seqlens, max_seqlen, scale, window)


def implementations() -> dict[str, RaggedAttention]:
    """Name suffix -> implementation, of those that are installed. The empty suffix chooses by device and dtype."""
    found: dict[str, RaggedAttention] = {"": automatic, "_sdpa": per_document_sdpa, "_torch": torch_varlen}
    packages = {2: "flash-attn", 3: "flash-attn-3", 4: "flash-attn-4"}
    for version, package in packages.items():
        try:
            distribution(package)
        except PackageNotFoundError:
            continue
        found[f"_fa{version}"] = partial(flash_attention, version=version)
    return found
