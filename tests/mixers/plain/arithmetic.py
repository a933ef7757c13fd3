"""What the plain mixers are written with: one pixel at a time, in the operations of a textbook.

Slow and obvious on purpose; nothing here is shared with mixers/.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]


def every_pixel(rows: int, columns: int, output_at: Callable[[int, int], Tensor]) -> Tensor:
    return torch.stack([torch.stack([output_at(r, c) for c in range(columns)]) for r in range(rows)])


def linear(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    product = x @ parameters[f"{name}.weight"].T
    return product + parameters[f"{name}.bias"] if f"{name}.bias" in parameters else product


def layer_norm(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + 1e-5) * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]


def batch_norm(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    normalised = (x - parameters[f"{name}.running_mean"]) / torch.sqrt(parameters[f"{name}.running_var"] + 1e-5)
    return normalised * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]


def zero_extended(x: Tensor, multiple: int) -> Tensor:
    """Rows and columns of zeros at the bottom and right, up to a multiple."""
    rows, columns, channels = x.shape
    full_rows, full_columns = math.ceil(rows / multiple) * multiple, math.ceil(columns / multiple) * multiple
    x = torch.cat([x, x.new_zeros(full_rows - rows, columns, channels)], 0)
    return torch.cat([x, x.new_zeros(full_rows, full_columns - columns, channels)], 1)


def attend(query: Tensor, keys: Tensor, values: Tensor, extra_logits: Tensor | float = 0.0) -> Tensor:
    """heads, d; n, heads, d; n, heads, d; heads, n -> heads * d."""
    logits = torch.einsum("hd,nhd->hn", query, keys) / math.sqrt(query.shape[-1]) + extra_logits
    shares = torch.exp(logits - logits.max(1, keepdim=True).values)
    shares = shares / shares.sum(1, keepdim=True)
    return torch.einsum("hn,nhd->hd", shares, values).flatten()


def sum_of_neighbours(x: Tensor, kernel_at: Callable[[int, int], Tensor]) -> Tensor:
    """Sum of the k x k neighbours on the map, weighted by `kernel_at(r, c)`: k, k, C."""
    rows, columns, _ = x.shape

    def output_at(r: int, c: int) -> Tensor:
        kernel = kernel_at(r, c)
        radius = kernel.shape[0] // 2
        top, bottom = max(r - radius, 0), min(r + radius + 1, rows)
        left, right = max(c - radius, 0), min(c + radius + 1, columns)
        inside = kernel[top - r + radius : bottom - r + radius, left - c + radius : right - c + radius]
        return (x[top:bottom, left:right] * inside).sum((0, 1))

    return every_pixel(rows, columns, output_at)


def depthwise_convolution(x: Tensor, kernel: Tensor) -> Tensor:
    """H, W, C; k, l, C -> H, W, C: the map between zeros, moved by one tap after the other. k and l are odd."""
    rows, columns, channels = x.shape
    beside = x.new_zeros(rows, kernel.shape[1] // 2, channels)
    x = torch.cat([beside, x, beside], 1)
    above = x.new_zeros(kernel.shape[0] // 2, x.shape[1], channels)
    x = torch.cat([above, x, above], 0)
    taps = ((row, column) for row in range(kernel.shape[0]) for column in range(kernel.shape[1]))
    return sum(x[row : row + rows, column : column + columns] * kernel[row, column] for row, column in taps)


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2
