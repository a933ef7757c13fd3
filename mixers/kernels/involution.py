"""`stmbench::involution`: a weighted sum of neighbours with weights of each pixel's own, as one operator of PyTorch.

Autograd, autocast, compile, export and FLOP counters see a single call in place of the two operations for each of the
kernel's taps. Source: Li et al., "Involution", arXiv:2103.06255, eq. 4; the kernels are given here, not generated.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.utils.flop_counter import register_flop_formula

from . import used

_LIBRARY = torch.library.Library("stmbench", "FRAGMENT")
_LIBRARY.define("involution(Tensor value, Tensor kernels, int kernel_size) -> Tensor")
_LIBRARY.define("involution_backward(Tensor grad, Tensor value, Tensor kernels, int kernel_size) -> (Tensor, Tensor)")
_INVOLUTION = torch.ops.stmbench.involution.default
_INVOLUTION_BACKWARD = torch.ops.stmbench.involution_backward.default


def involution(value: Tensor, kernels: Tensor, kernel_size: int) -> Tensor:
    """Sums each pixel's neighbours, k x k of them around it, by the pixel's own weights; outside, values are zero.

    Args:
        value: B, H, W, C.
        kernels: B, H, W, G * k^2, the taps of a group consecutive, row by row; C / G consecutive channels share them.
        kernel_size: k, odd.

    Returns:
        B, H, W, C in the dtype of `value`; the sum itself is in at least float32.

    Raises:
        ValueError: shapes that do not fit together, or an even kernel size.
    """
    if torch.onnx.is_in_onnx_export():  # ONNX lacks the operator, and has all that the plain form is made of.
        return plain_involution(value, kernels, kernel_size)
    return _INVOLUTION(value, kernels, kernel_size)


def plain_involution(value: Tensor, kernels: Tensor, kernel_size: int) -> Tensor:
    """`involution` in a few of PyTorch's operations, with every neighbour copied out: k^2 times the memory."""
    groups = _groups(value, kernels, kernel_size)
    rows, columns = value.shape[1:3]
    neighbours = F.unfold(value.permute(0, 3, 1, 2), kernel_size, padding=kernel_size // 2)
    neighbours = neighbours.unflatten(2, (rows, columns)).unflatten(1, (groups, -1, kernel_size**2))
    weights = kernels.permute(0, 3, 1, 2).unflatten(1, (groups, 1, kernel_size**2))
    return (neighbours * weights).sum(3).flatten(1, 2).permute(0, 2, 3, 1)


def _groups(value: Tensor, kernels: Tensor, kernel_size: int) -> int:
    taps = kernel_size**2
    fits = value.dim() == 4 and value.shape[:3] == kernels.shape[:3] and kernels.dim() == 4
    if kernel_size % 2 == 0 or not fits or kernels.shape[3] % taps or value.shape[3] % max(kernels.shape[3] // taps, 1):
        raise ValueError(
            f"involution: kernels {tuple(kernels.shape)} must be B, H, W, groups * {taps} for value "
            f"{tuple(value.shape)} and an odd kernel size, here {kernel_size}; the groups must divide the channels"
        )
    return kernels.shape[3] // taps


class _Planes:
    """The operands with rows of pixels as the contiguous axis: groups of a few channels would make short, slow vectors.

    Half precision would lose most of a sum of 49 products, so it is done in at least float32.
    """

    def __init__(self, value: Tensor, kernels: Tensor, kernel_size: int) -> None:
        groups = _groups(value, kernels, kernel_size)
        self.rows, self.columns = value.shape[1:3]
        self.kernel_size, self.radius = kernel_size, kernel_size // 2
        self.precise = torch.promote_types(torch.promote_types(value.dtype, kernels.dtype), torch.float32)
        padded = F.pad(self.plane_by_plane(value), (self.radius,) * 4)
        self.padded = padded.unflatten(1, (groups, -1))  # B, G, C / G, H + 2 radius, W + 2 radius
        self.kernels = self.plane_by_plane(kernels).unflatten(1, (groups, 1, kernel_size**2))  # B, G, 1, taps, H, W

    def plane_by_plane(self, x: Tensor) -> Tensor:
        """B, H, W, C -> B, C, H, W."""
        return x.permute(0, 3, 1, 2).to(self.precise, memory_format=torch.contiguous_format).contiguous()

    def neighbour(self, padded: Tensor, tap: int) -> Tensor:
        """The padded map moved by one tap, a view: gathering the neighbours first would copy the map k * k times."""
        row, column = divmod(tap, self.kernel_size)
        return padded[..., row : row + self.rows, column : column + self.columns]


@torch.library.impl("stmbench::involution", "default", lib=_LIBRARY)
def _forward(value: Tensor, kernels: Tensor, kernel_size: int) -> Tensor:
    used.note("involution", used.REFERENCE)
    planes = _Planes(value, kernels, kernel_size)
    total = torch.zeros_like(planes.neighbour(planes.padded, 0), memory_format=torch.contiguous_format)
    for tap in range(kernel_size**2):
        total.addcmul_(planes.neighbour(planes.padded, tap), planes.kernels[:, :, :, tap])
    return total.flatten(1, 2).permute(0, 2, 3, 1).to(value.dtype).contiguous()


@torch.library.impl("stmbench::involution_backward", "default", lib=_LIBRARY)
def _backward(grad: Tensor, value: Tensor, kernels: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    planes = _Planes(value, kernels, kernel_size)
    grad = planes.plane_by_plane(grad).unflatten(1, planes.padded.shape[1:3])
    grad_padded, grad_kernels = torch.zeros_like(planes.padded), torch.empty_like(planes.kernels)
    for tap in range(kernel_size**2):
        planes.neighbour(grad_padded, tap).addcmul_(grad, planes.kernels[:, :, :, tap])
        torch.sum(planes.neighbour(planes.padded, tap) * grad, 2, keepdim=True, out=grad_kernels[:, :, :, tap])
    grad_value = planes.neighbour(grad_padded, kernel_size**2 // 2).flatten(1, 2)
    return (
        grad_value.permute(0, 2, 3, 1).to(value.dtype).contiguous(),
        grad_kernels.flatten(1, 3).permute(0, 2, 3, 1).to(kernels.dtype).contiguous(),
    )


@torch.library.register_fake("stmbench::involution", lib=_LIBRARY)
def _fake_forward(value: Tensor, kernels: Tensor, kernel_size: int) -> Tensor:
    _groups(value, kernels, kernel_size)
    return value.new_empty(value.shape)


@torch.library.register_fake("stmbench::involution_backward", lib=_LIBRARY)
def _fake_backward(grad: Tensor, value: Tensor, kernels: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    return value.new_empty(value.shape), kernels.new_empty(kernels.shape)


def _remember(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.kernel_size = inputs
    ctx.save_for_backward(*tensors)


def _derivative(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_INVOLUTION_BACKWARD(grad, *ctx.saved_tensors, ctx.kernel_size), None


def _second_derivative(ctx: FunctionCtx, of_value: Tensor, of_kernels: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    """The sum is linear in the value and in the kernels, so its derivatives are sums and derivatives of the same."""
    grad, value, kernels = ctx.saved_tensors
    size = ctx.kernel_size
    of_grad = _INVOLUTION(of_value.to(value.dtype), kernels, size) + _INVOLUTION(value, of_kernels, size)
    again_value, _ = _INVOLUTION_BACKWARD(grad, value, of_kernels, size)
    _, again_kernels = _INVOLUTION_BACKWARD(grad, of_value, kernels, size)
    return of_grad, again_value, again_kernels, None


torch.library.register_autograd("stmbench::involution", _derivative, setup_context=_remember, lib=_LIBRARY)
torch.library.register_autograd(
    "stmbench::involution_backward", _second_derivative, setup_context=_remember, lib=_LIBRARY
)


@register_flop_formula(torch.ops.stmbench.involution)
def _flops(value: tuple[int, ...], kernels: tuple[int, ...], kernel_size: int, *, out_shape: Any = None) -> int:
    return 2 * math.prod(value) * kernel_size**2


@register_flop_formula(torch.ops.stmbench.involution_backward)
def _backward_flops(
    grad: tuple[int, ...], value: tuple[int, ...], kernels: tuple[int, ...], kernel_size: int, *, out_shape: Any = None
) -> int:
    return 2 * _flops(value, kernels, kernel_size)
