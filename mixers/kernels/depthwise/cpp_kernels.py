"""Depth-wise convolution on the CPU: depthwise.cpp, compiled on first use."""

from pathlib import Path

import torch
from torch import Tensor

from .. import used
from ..compiler import load_for_cpu

SOURCE = Path(__file__).with_name("depthwise.cpp")
KERNEL_SIZES = (3, 5, 7)
DTYPES = (torch.float32, torch.float64)


def forward(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """B, H, W, C; C, k, k or B, C, k, k; C or None -> B, H, W, C."""
    load_for_cpu(SOURCE)
    check(x, kernels, bias)
    used.note("depthwise", "cpp")
    x = x.contiguous()
    output = torch.empty_like(x)
    torch.ops.stmbench_cpp.depthwise(output, x, taps_first(kernels), None if bias is None else bias.contiguous())
    return output


def backward(grad: Tensor, x: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, kernels and bias, contiguous."""
    load_for_cpu(SOURCE)
    check(x, kernels)
    batch, channels = x.shape[0], x.shape[3]
    x, grad = x.contiguous(), grad.contiguous()
    taps = taps_first(kernels)
    grad_x = torch.empty_like(x)
    grad_taps, grad_bias = x.new_empty(batch, *taps.shape[1:]), x.new_empty(batch, channels)
    torch.ops.stmbench_cpp.depthwise_backward(grad_x, grad_taps, grad_bias, grad, x, taps)
    if kernels.dim() == 3:
        grad_taps = grad_taps.sum(0)
    return grad_x, grad_taps.transpose(-1, -2).contiguous().view(kernels.shape), grad_bias.sum(0)


def check(x: Tensor, kernels: Tensor, bias: Tensor | None = None) -> None:
    """Raises ValueError for shapes that do not fit together."""
    size, shared = kernels.shape[-1], kernels.dim() == 3
    wanted = (*(() if shared else x.shape[:1]), x.shape[-1], size, size)
    if x.dim() != 4 or kernels.shape != wanted or (bias is not None and bias.shape != x.shape[-1:]):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (x, kernels, bias) if tensor is not None)
        raise ValueError(f"depth-wise convolution wants B, H, W, C; C, k, k or B, C, k, k; and C; got {shapes}")


def taps_first(kernels: Tensor) -> Tensor:
    """(B,) C, k, k -> 1 or B, k*k, C."""
    return kernels.flatten(-2).transpose(-1, -2).reshape(-1, kernels.shape[-1] ** 2, kernels.shape[-3]).contiguous()
