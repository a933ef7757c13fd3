"""Local attention on the CPU: local_attention.cpp, compiled on first use."""

from dataclasses import astuple
from pathlib import Path

import torch
from torch import Tensor

from ..compiler import load_for_cpu
from .geometry import Geometry
from .layout import sums_of_parts, with_contiguous_channels

SOURCE = Path(__file__).with_name("local_attention.cpp")


def arithmetic(dtype: torch.dtype) -> torch.dtype:
    """What the kernel computes in, and what it takes logits in."""
    return torch.promote_types(dtype, torch.float32)


def forward(
    query: Tensor, key: Tensor, value: Tensor, added: tuple[Tensor | None, ...], geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """`added`: bias heads, w*w, b*b; row table; column table. Returns output and, for the gradient, each query's
    logarithm of its sum of exponentials, B, H, W, heads."""
    load_for_cpu(SOURCE)
    query, key, value = (with_contiguous_channels(tensor) for tensor in (query, key, value))
    precise = arithmetic(query.dtype)
    output = query.new_empty(query.shape)
    log_sums = query.new_empty(query.shape[:-1], dtype=precise)
    added = [None if tensor is None else tensor.to(precise).contiguous() for tensor in added]
    torch.ops.stmbench_cpp.local_attention(output, log_sums, query, key, value, *added, *astuple(geometry))
    return output, log_sums


def backward(
    grad: Tensor,
    log_sums: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    added: tuple[Tensor | None, ...],
    geometry: Geometry,
) -> list[Tensor | None]:
    """Gradients of query, key, value and the three of `added`, None for those that are None."""
    load_for_cpu(SOURCE)
    grad, query, key, value = (with_contiguous_channels(tensor) for tensor in (grad, query, key, value))
    precise = arithmetic(query.dtype)
    batch, heads = query.shape[0], query.shape[3]
    added = [None if tensor is None else tensor.to(precise).contiguous() for tensor in added]
    # Every pixel is a query once, and a key once unless windows overlap, which add up.
    start = torch.zeros if geometry.halo_size else torch.empty
    grads = [torch.empty(query.shape, dtype=precise), *(start(query.shape, dtype=precise) for _ in range(2))]
    # One sum for each image or image and head, added up here: the order never depends on the number of threads.
    parts = [
        None if tensor is None else torch.zeros(*lead, *tensor.shape, dtype=precise)
        for tensor, lead in zip(added, ((batch,), (batch, heads), (batch, heads)), strict=True)
    ]
    torch.ops.stmbench_cpp.local_attention_backward(
        *grads, *parts, grad, log_sums, query, key, value, *added, *astuple(geometry)
    )
    return [*grads, *sums_of_parts(parts, added)]
