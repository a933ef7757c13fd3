"""Depth-wise convolution with PyTorch's own functions: for every device, dtype and kernel size."""

import torch
import torch.nn.functional as F
from torch import Tensor


def forward(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """B, H, W, C; C, k, k or B, C, k, k; C or None -> B, H, W, C."""
    batch, rows, columns, channels = x.shape
    padding = int(kernels.shape[-1]) // 2  # a constant of compiled graphs
    x = x.permute(0, 3, 1, 2)
    if kernels.dim() == 3:  # a view in and out: B, C, H, W in channels_last memory
        return F.conv2d(x, kernels.unsqueeze(1), bias, padding=padding, groups=channels).permute(0, 2, 3, 1)
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return _for_any_batch(x, kernels, bias)
    # Each image has kernels of its own, so the whole batch is one convolution with B * C groups.
    groups = batch * channels
    bias = None if bias is None else bias.repeat(batch)
    x = x.reshape(1, groups, rows, columns)
    x = F.conv2d(x, kernels.flatten(0, 1).unsqueeze(1), bias, padding=padding, groups=groups)
    return x.reshape(batch, channels, rows, columns).permute(0, 2, 3, 1)


def _for_any_batch(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """B, C, H, W; B, C, k, k -> B, H, W, C: a sum over taps, because a convolution in a graph has so many groups, and
    the graph is for any batch. Compilers make one loop of it."""
    size, (rows, columns) = int(kernels.shape[-1]), x.shape[2:]
    # Half precision would lose most of a sum of 49 products.
    precise = torch.promote_types(kernels.dtype, torch.float32)
    neighbours = F.unfold(x.to(precise), size, padding=size // 2).unflatten(1, (-1, size**2))
    total = (neighbours * kernels.to(precise).flatten(2).unsqueeze(3)).sum(2)
    if bias is not None:
        total = total + bias.unsqueeze(1)
    return total.to(kernels.dtype).unflatten(2, (rows, columns)).permute(0, 2, 3, 1)
