"""Depth-wise convolution with kernels of any height and width: PyTorch's, whose gradient of a large kernel is slow on
the CPU and is computed here as what it is, a convolution of the map with the output's gradient.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from . import used
from .eager import computed_now_on_cpu

# Measured on one core, for maps of 7 x 7 x 768 to 56 x 56 x 96: PyTorch's gradient of kernels of 13 x 13 to 31 x 31
# takes 5 to 23 times as long, and that of 5 x 5 sometimes half as long.
FEWEST_TAPS = 128


def large_depthwise_conv(x: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Depth-wise convolution of stride 1 with as much zero padding as keeps the size.

    Args:
        x: B, C, H, W, best as a view of B, H, W, C.
        kernels: C, 1, k, l; both odd.
        bias: C, or None.

    Returns: B, C, H, W.
    """
    used.note("depthwise", used.REFERENCE)
    if kernels[0].numel() >= FEWEST_TAPS and _takes(x, kernels, bias):
        return LargeDepthwiseConv.apply(x, kernels, bias)
    return _convolution(x, kernels, bias)


def _takes(x: Tensor, kernels: Tensor, bias: Tensor | None) -> bool:
    tensors = [tensor for tensor in (x, kernels, bias) if tensor is not None]
    if not (torch.is_grad_enabled() and kernels.requires_grad):
        return False
    return all(tensor.dtype == torch.float32 for tensor in tensors) and computed_now_on_cpu(*tensors)


def _convolution(x: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    padding = [int(size) // 2 for size in kernels.shape[2:]]
    return F.conv2d(x, kernels, bias, padding=padding, groups=len(kernels))


class LargeDepthwiseConv(torch.autograd.Function):
    """Its derivatives are convolutions, so it can be differentiated again."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, kernels)
        return _convolution(x, kernels, bias)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, kernels = ctx.saved_tensors
        of_x, of_kernels, of_bias = ctx.needs_input_grad
        grad_x = _convolution(grad, kernels.flip(-1, -2)) if of_x else None
        grad_kernels = _of_kernels(grad, x, kernels.shape[2:]) if of_kernels else None
        return grad_x, grad_kernels, grad.sum((0, 2, 3)) if of_bias else None


def _of_kernels(grad: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
    """Each map is convolved with the gradient of its own output; image by image, so that it keeps its layout."""
    rows, columns = (int(size) // 2 for size in shape)
    x = F.pad(x, (columns, columns, rows, rows))
    products = [F.conv2d(x[image : image + 1], grad[image].unsqueeze(1), groups=x.shape[1]) for image in range(len(x))]
    return torch.cat(products).sum(0).unsqueeze(1)
