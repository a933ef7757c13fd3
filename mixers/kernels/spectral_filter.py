"""`stmbench::spectral_filter`: a map times a filter in the frequency domain, as one operator of PyTorch.

torch.compile makes no code of complex numbers and warns of them, torch.fft takes no bfloat16, and no counter knows what
a Fourier transform costs: all three see a single call of real tensors.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.utils.flop_counter import register_flop_formula

from . import used

_LIBRARY = torch.library.Library("stmbench", "FRAGMENT")
_LIBRARY.define("spectral_filter(Tensor x, Tensor filter) -> Tensor")
_LIBRARY.define("spectral_filter_backward(Tensor grad, Tensor x, Tensor filter) -> (Tensor, Tensor)")
_FILTER = torch.ops.stmbench.spectral_filter.default
_FILTER_BACKWARD = torch.ops.stmbench.spectral_filter_backward.default
_MAP = (1, 2)  # the axes H, W


def spectral_filter(x: Tensor, filter: Tensor) -> Tensor:
    """Transforms each channel of a map, multiplies each frequency by a number of its own, and transforms back.

    Source: Rao et al., "Global Filter Networks for Image Classification", arXiv:2107.00645, section 3.2. Transforms are
    orthonormal and of real maps, so half of the column frequencies are enough.

    Args:
        x: B, H, W, C.
        filter: H, W // 2 + 1, C, 2: real and imaginary parts; row frequencies in the order of torch.fft, 0 first.

    Returns:
        B, H, W, C in the dtype of `x`; the transforms are in at least float32.

    Raises:
        ValueError: shapes that do not fit together.
    """
    if torch.onnx.is_in_onnx_export():  # ONNX lacks the operator, and has all that the plain form is made of.
        return plain_spectral_filter(x, filter)
    return _FILTER(x, filter)


def plain_spectral_filter(x: Tensor, filter: Tensor) -> Tensor:
    """`spectral_filter` in PyTorch's own operations."""
    _check(x, filter)
    product = _transformed(x) * _complex(filter, x)
    return torch.fft.irfft2(product, s=tuple(x.shape[1:3]), dim=_MAP, norm="ortho").to(x.dtype)


def _check(x: Tensor, filter: Tensor) -> None:
    if x.dim() != 4 or filter.shape != (x.shape[1], x.shape[2] // 2 + 1, x.shape[3], 2):
        raise ValueError(
            f"spectral_filter: filter {tuple(filter.shape)} must be H, W // 2 + 1, C, 2 for a map B, H, W, C of "
            f"{tuple(x.shape)}"
        )


def _precise(tensor: Tensor, x: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(x.dtype, torch.float32))


def _complex(filter: Tensor, x: Tensor) -> Tensor:
    return torch.view_as_complex(_precise(filter, x).contiguous())


def _transformed(x: Tensor) -> Tensor:
    return torch.fft.rfft2(_precise(x, x), dim=_MAP, norm="ortho")


@torch.library.impl("stmbench::spectral_filter", "default", lib=_LIBRARY)
def _forward(x: Tensor, filter: Tensor) -> Tensor:
    used.note("spectral_filter", used.REFERENCE)
    _check(x, filter)
    if x.numel() == 0:
        return x.new_empty(x.shape)
    return plain_spectral_filter(x, filter).contiguous()


@torch.library.impl("stmbench::spectral_filter_backward", "default", lib=_LIBRARY)
def _backward(grad: Tensor, x: Tensor, filter: Tensor) -> tuple[Tensor, Tensor]:
    if x.numel() == 0:
        return x.new_empty(x.shape), torch.zeros_like(filter)
    spectrum, columns = _transformed(_precise(grad, x)), x.shape[2]
    # Not conj(), which is lazy: compiled graphs lose what is pending inside of an operator.
    mirrored_filter, mirrored_x = _complex(filter, x).conj_physical(), _transformed(x).conj_physical()
    grad_x = torch.fft.irfft2(spectrum * mirrored_filter, s=tuple(x.shape[1:3]), dim=_MAP, norm="ortho")
    # Half of the spectrum stands for all of it: its columns count twice, but for those that are their own mirror image.
    grad_filter = torch.view_as_real((spectrum * mirrored_x).sum(0))
    grad_filter[:, 1 : (columns + 1) // 2] *= 2
    return grad_x.to(x.dtype).contiguous(), grad_filter.to(filter.dtype).contiguous()


@torch.library.register_fake("stmbench::spectral_filter", lib=_LIBRARY)
def _fake_forward(x: Tensor, filter: Tensor) -> Tensor:
    _check(x, filter)
    return x.new_empty(x.shape)


@torch.library.register_fake("stmbench::spectral_filter_backward", lib=_LIBRARY)
def _fake_backward(grad: Tensor, x: Tensor, filter: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), filter.new_empty(filter.shape)


def _remember(ctx: FunctionCtx, inputs: tuple[Tensor, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _derivative(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor]:
    return _FILTER_BACKWARD(grad, *ctx.saved_tensors)


def _second_derivative(ctx: FunctionCtx, of_x: Tensor, of_filter: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The output is linear in the map and in the filter, so its derivatives are outputs and derivatives of the same."""
    grad, x, filter = ctx.saved_tensors
    of_grad = _FILTER(of_x, filter) + _FILTER(x, of_filter)
    again_x, _ = _FILTER_BACKWARD(grad, x, of_filter)
    _, again_filter = _FILTER_BACKWARD(grad, of_x, filter)
    return of_grad, again_x, again_filter


torch.library.register_autograd("stmbench::spectral_filter", _derivative, setup_context=_remember, lib=_LIBRARY)
torch.library.register_autograd(
    "stmbench::spectral_filter_backward", _second_derivative, setup_context=_remember, lib=_LIBRARY
)


def filter_macs(rows: int, columns: int, channels: int) -> int:
    """Of one image, as the paper counts: log2 of the pixels for both transforms, and one product for the filter."""
    pixels = rows * columns
    return channels * pixels * (math.ceil(math.log2(pixels)) + 1)


@register_flop_formula(torch.ops.stmbench.spectral_filter)
def _flops(x: tuple[int, ...], filter: tuple[int, ...], *, out_shape: Any = None) -> int:
    return 2 * x[0] * filter_macs(*x[1:])


@register_flop_formula(torch.ops.stmbench.spectral_filter_backward)
def _backward_flops(
    grad: tuple[int, ...], x: tuple[int, ...], filter: tuple[int, ...], *, out_shape: Any = None
) -> int:
    return 2 * _flops(x, filter)
