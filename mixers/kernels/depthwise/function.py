"""What mixers call, and which code computes it."""

import torch
from torch import Tensor, nn

from .. import used
from ..compiler import runs_on_cpu
from ..eager import takes_own_operators
from . import cpp_kernels, reference
from .operator import DEPTHWISE_CONV


def depthwise_conv(x: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Depth-wise convolution of stride 1 with as much zero padding as keeps the size.

    On the CPU, in float32 and float64, depthwise.cpp computes kernels of 5 and 7 pixels, and of 3 if each image has its
    own, where it can be compiled. Everything else, and what another program than PyTorch is to read, consists of
    PyTorch's functions (which are faster for 3 pixels and shared kernels).

    Args:
        x: B, H, W, C.
        kernels: C, k, k for all images, or B, C, k, k; k is odd.
        bias: C, or None.

    Returns: B, H, W, C.
    """
    tensors = [tensor for tensor in (x, kernels, bias) if tensor is not None]
    if _takes(*tensors):
        return DEPTHWISE_CONV(x, kernels, bias)
    used.note("depthwise", used.REFERENCE)
    return reference.forward(x, kernels, bias)


def _takes(x: Tensor, kernels: Tensor, *bias: Tensor) -> bool:
    if not all(tensor.device.type == "cpu" and tensor.dtype == x.dtype for tensor in (x, kernels, *bias)):
        return False
    if x.dtype not in cpp_kernels.DTYPES or kernels.shape[-1] not in cpp_kernels.KERNEL_SIZES:
        return False
    if kernels.shape[-1] == 3 and kernels.dim() == 3:
        return False
    return takes_own_operators() and not torch.is_autocast_enabled("cpu") and runs_on_cpu(cpp_kernels.SOURCE)


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with one filter a channel, from `B, H, W, C` to the same; `kernel_size` is odd, in pixels."""

    def __init__(self, dim: int, kernel_size: int, *, bias: bool = True) -> None:
        super().__init__(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return depthwise_conv(x, self.weight.squeeze(1), self.bias)
