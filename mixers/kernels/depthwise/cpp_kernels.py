"""Depth-wise convolution on the CPU: depthwise.cpp, compiled on first use."""

import functools
import logging
from pathlib import Path

import torch
from torch import Tensor

from .. import used
from ..compiler import MissingImplementationError, compiled_for_cpu, load

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("depthwise.cpp")
KERNEL_SIZES = (3, 5, 7)
DTYPES = (torch.float32, torch.float64)


@functools.cache
def prepare() -> None:
    load(compiled_for_cpu(SOURCE))


@functools.cache
def present() -> bool:
    """Whether the library can be compiled and loaded; if not, the log says why, once."""
    try:
        prepare()
    except MissingImplementationError as error:
        logger.warning("depth-wise convolution on cpu goes without its cpp implementation: %s", error)
        return False
    return True


def forward(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """B, H, W, C; C, k, k or B, C, k, k; C or None -> B, H, W, C."""
    prepare()
    used.note("depthwise", "cpp")
    x = x.contiguous()
    output = torch.empty_like(x)
    torch.ops.stmbench_cpp.depthwise(output, x, taps_first(kernels), None if bias is None else bias.contiguous())
    return output


def backward(grad: Tensor, x: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, kernels and bias, contiguous."""
    prepare()
    batch, channels = x.shape[0], x.shape[3]
    x, grad = x.contiguous(), grad.contiguous()
    taps = taps_first(kernels)
    grad_x = torch.empty_like(x)
    grad_taps, grad_bias = x.new_empty(batch, *taps.shape[1:]), x.new_empty(batch, channels)
    torch.ops.stmbench_cpp.depthwise_backward(grad_x, grad_taps, grad_bias, grad, x, taps)
    if kernels.dim() == 3:
        grad_taps = grad_taps.sum(0)
    return grad_x, grad_taps.transpose(-1, -2).contiguous().view(kernels.shape), grad_bias.sum(0)


def taps_first(kernels: Tensor) -> Tensor:
    """(B,) C, k, k -> 1 or B, k*k, C."""
    return kernels.flatten(-2).transpose(-1, -2).reshape(-1, kernels.shape[-1] ** 2, kernels.shape[-3]).contiguous()
