"""`stmbench::dcnv3`: DCNv3 as one operator of PyTorch, so that autograd, autocast, compile, export and FLOP counters
see a single call whose inside they need not know.

Which implementation computes it is decided when it runs, from the argument `implementation`.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.utils.flop_counter import register_flop_formula

from .. import used
from . import reference
from .geometry import Geometry
from .implementations import implementation_for, module_of

_NUMBERS = (
    "int kernel_size, int stride, int padding, int dilation, float offset_scale, bool remove_centre, str implementation"
)
_LIBRARY = torch.library.Library("stmbench", "FRAGMENT")
_LIBRARY.define(f"dcnv3(Tensor value, Tensor offsets, Tensor weights, {_NUMBERS}) -> Tensor")
_LIBRARY.define(
    f"dcnv3_backward(Tensor grad, Tensor value, Tensor offsets, Tensor weights, {_NUMBERS}) -> (Tensor, Tensor, Tensor)"
)
DCNV3 = torch.ops.stmbench.dcnv3.default
DCNV3_BACKWARD = torch.ops.stmbench.dcnv3_backward.default


@torch.library.impl("stmbench::dcnv3", "default", lib=_LIBRARY)
def _forward(value: Tensor, offsets: Tensor, weights: Tensor, *numbers: Any) -> Tensor:
    *numbers, implementation = numbers
    geometry = Geometry(*numbers)
    geometry.check(value, offsets, weights)
    module = _module_for(value, implementation)
    if value.numel() == 0:
        return _empty_output(value, offsets)
    offsets, weights = _in_one_dtype(offsets, weights)
    return module.forward(value.contiguous(), offsets, weights, geometry)


@torch.library.impl("stmbench::dcnv3_backward", "default", lib=_LIBRARY)
def _backward(
    grad: Tensor, value: Tensor, offsets: Tensor, weights: Tensor, *numbers: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *numbers, implementation = numbers
    geometry = Geometry(*numbers)
    geometry.check(value, offsets, weights)
    if grad.shape != (*offsets.shape[:3], value.shape[3]):
        raise ValueError(
            f"dcnv3: the output's gradient {tuple(grad.shape)} does not fit value {tuple(value.shape)} and offsets "
            f"{tuple(offsets.shape)}"
        )
    module = _module_for(value, implementation)
    inputs = (value, offsets, weights)
    if value.numel() == 0:
        return tuple(torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device) for tensor in inputs)
    grad = grad.to(value.dtype).contiguous()
    grads = module.backward(grad, value.contiguous(), *_in_one_dtype(offsets, weights), geometry)
    return tuple(grad.to(tensor.dtype) for grad, tensor in zip(grads, inputs, strict=True))


def _module_for(value: Tensor, implementation: str) -> ModuleType:
    name = implementation_for(value, implementation)
    used.note("dcnv3", name)
    return module_of(name)


def _in_one_dtype(offsets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(offsets.dtype, weights.dtype)
    return offsets.to(dtype).contiguous(), weights.to(dtype).contiguous()


def _empty_output(value: Tensor, offsets: Tensor) -> Tensor:
    return value.new_empty((*offsets.shape[:3], value.shape[3]))


@torch.library.register_fake("stmbench::dcnv3", lib=_LIBRARY)
def _fake_forward(value: Tensor, offsets: Tensor, weights: Tensor, *numbers: Any) -> Tensor:
    Geometry(*numbers[:-1]).check(value, offsets, weights)
    return _empty_output(value, offsets)


@torch.library.register_fake("stmbench::dcnv3_backward", lib=_LIBRARY)
def _fake_backward(
    grad: Tensor, value: Tensor, offsets: Tensor, weights: Tensor, *numbers: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(tensor.new_empty(tensor.shape) for tensor in (value, offsets, weights))


def _remember(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
    tensors = [argument for argument in inputs if isinstance(argument, Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.numbers = inputs[len(tensors) :]


def _first_derivative(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = DCNV3_BACKWARD(grad, *ctx.saved_tensors, *ctx.numbers)
    return *grads, *(None for _ in ctx.numbers)


def _second_derivative(ctx: FunctionCtx, *grad_grads: Tensor) -> tuple[Tensor | None, ...]:
    """Differentiates the reference twice, whatever computed the first derivative."""
    with torch.enable_grad():
        grad, *inputs = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
        output = reference.forward(*inputs, Geometry(*ctx.numbers[:-1]))
        first = torch.autograd.grad(output, inputs, grad, create_graph=True)
        second = torch.autograd.grad(first, (grad, *inputs), grad_grads, materialize_grads=True)
    return *second, *(None for _ in ctx.numbers)


torch.library.register_autograd("stmbench::dcnv3", _first_derivative, setup_context=_remember, lib=_LIBRARY)
torch.library.register_autograd("stmbench::dcnv3_backward", _second_derivative, setup_context=_remember, lib=_LIBRARY)


def _under_autocast(device_type: str) -> None:
    """Value, offsets and weights go to autocast's dtype: the operation is bound by reading them, and its arithmetic is
    in float32 regardless."""

    def in_autocast_dtype(*arguments: Any) -> Tensor:
        dtype = torch.get_autocast_dtype(device_type)
        with torch.autocast(device_type, enabled=False):
            return DCNV3(
                *(tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in arguments[:3]),
                *arguments[3:],
            )

    _LIBRARY.impl("dcnv3", in_autocast_dtype, f"Autocast{device_type.upper()}")


for _device_type in ("cpu", "cuda"):
    _under_autocast(_device_type)


def sampling_macs(out_pixels: int, channels: int, points: int) -> int:
    """Four products of the bilinear interpolation and one by the weight, for each point and channel."""
    return 5 * out_pixels * channels * points


@register_flop_formula(torch.ops.stmbench.dcnv3)
def _flops(
    value: tuple[int, ...], offsets: tuple[int, ...], weights: tuple[int, ...], *numbers: Any, out_shape: Any = None
) -> int:
    batch, rows, columns, _, points = weights
    return 2 * sampling_macs(batch * rows * columns, value[-1], points)


@register_flop_formula(torch.ops.stmbench.dcnv3_backward)
def _backward_flops(
    grad: tuple[int, ...],
    value: tuple[int, ...],
    offsets: tuple[int, ...],
    weights: tuple[int, ...],
    *numbers: Any,
    out_shape: Any = None,
) -> int:
    return 2 * _flops(value, offsets, weights)
