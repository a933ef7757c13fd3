"""`stmbench::selective_scan`: the selective scan as one operator of PyTorch, so that autograd, autocast, compile,
export and FLOP counters see a single call whose inside they need not know.

Which implementation computes it is decided when it runs, from the argument `implementation`.
"""

import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.utils.flop_counter import register_flop_formula

from .. import used
from . import reference
from .implementations import implementation_for, module_of
from .paths import PATHS
from .reference import arithmetic

_TENSORS = "Tensor x, Tensor delta, Tensor delta_bias, Tensor a_log, Tensor b, Tensor c, Tensor d"
_LIBRARY = torch.library.Library("stmbench", "FRAGMENT")
_LIBRARY.define(f"selective_scan({_TENSORS}, str implementation) -> Tensor")
_LIBRARY.define(
    f"selective_scan_backward(Tensor grad, {_TENSORS}, str implementation) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
SELECTIVE_SCAN = torch.ops.stmbench.selective_scan.default
SELECTIVE_SCAN_BACKWARD = torch.ops.stmbench.selective_scan_backward.default


@torch.library.impl("stmbench::selective_scan", "default", lib=_LIBRARY)
def _forward(*arguments: Any) -> Tensor:
    *inputs, implementation = arguments
    _check(*inputs)
    module = _module_for(inputs[0], implementation)
    if inputs[0].numel() == 0:
        return _empty_output(inputs[0])
    return module.forward(*_prepared(*inputs))


@torch.library.impl("stmbench::selective_scan_backward", "default", lib=_LIBRARY)
def _backward(grad: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    *inputs, implementation = arguments
    _check(*inputs)
    x = inputs[0]
    if grad.shape != x.shape:
        raise ValueError(f"selective_scan: the output's gradient {tuple(grad.shape)} does not fit x {tuple(x.shape)}")
    module = _module_for(x, implementation)
    if x.numel() == 0:
        return tuple(torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device) for tensor in inputs)
    prepared = _prepared(*inputs)
    grads = list(module.backward(grad.to(arithmetic(x.dtype)).contiguous(), *prepared))
    grads[3] = grads[3] * prepared[3]  # of a = -exp(a_log): its derivative is a
    return tuple(grad.to(tensor.dtype).contiguous() for grad, tensor in zip(grads, inputs, strict=True))


def _prepared(
    x: Tensor, delta: Tensor, delta_bias: Tensor, a_log: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> tuple[Tensor, ...]:
    """What implementations get: contiguous tensors, a in place of its logarithm, and what is learned in the dtype of
    the arithmetic."""
    delta_bias, a_log, d = (learned.to(arithmetic(x.dtype)).contiguous() for learned in (delta_bias, a_log, d))
    return x.contiguous(), delta.contiguous(), delta_bias, -torch.exp(a_log), b.contiguous(), c.contiguous(), d


def _module_for(x: Tensor, implementation: str) -> ModuleType:
    name = implementation_for(x, implementation)
    used.note("selective_scan", name)
    return module_of(name)


def _empty_output(x: Tensor) -> Tensor:
    return x.new_empty(x.shape, dtype=arithmetic(x.dtype))


def _check(x: Tensor, delta: Tensor, delta_bias: Tensor, a_log: Tensor, b: Tensor, c: Tensor, d: Tensor) -> None:
    """Raises ValueError for shapes that do not fit together."""
    channels, states, pixels = x.shape[-1], a_log.shape[-1], (PATHS, *x.shape[:3])
    wanted = {
        "delta": (delta, (*pixels, channels)),
        "delta_bias": (delta_bias, (PATHS, channels)),
        "a_log": (a_log, (PATHS, channels, states)),
        "b": (b, (*pixels, states)),
        "c": (c, (*pixels, states)),
        "d": (d, (PATHS, channels)),
    }
    for name, (tensor, shape) in wanted.items():
        if x.dim() != 4 or tensor.shape != shape:
            raise ValueError(
                f"selective_scan: {name} {tuple(tensor.shape)} must be {tuple(shape)} for x {tuple(x.shape)}, which is "
                f"B, H, W, E, and {states} states"
            )


@torch.library.register_fake("stmbench::selective_scan", lib=_LIBRARY)
def _fake_forward(*arguments: Any) -> Tensor:
    _check(*arguments[:-1])
    return _empty_output(arguments[0])


@torch.library.register_fake("stmbench::selective_scan_backward", lib=_LIBRARY)
def _fake_backward(grad: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return tuple(tensor.new_empty(tensor.shape) for tensor in arguments[:-1])


def _remember(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.implementation = inputs
    ctx.save_for_backward(*tensors)


def _first_derivative(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *SELECTIVE_SCAN_BACKWARD(grad, *ctx.saved_tensors, ctx.implementation), None


def _second_derivative(ctx: FunctionCtx, *grad_grads: Tensor) -> tuple[Tensor | None, ...]:
    """Differentiates the reference twice, whatever computed the first derivative."""
    with torch.enable_grad():
        grad, *inputs = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
        x, delta, delta_bias, a_log, b, c, d = inputs
        output = reference.forward(x, delta, delta_bias, -torch.exp(a_log), b, c, d)
        first = torch.autograd.grad(output, inputs, grad, create_graph=True)
        second = torch.autograd.grad(first, (grad, *inputs), grad_grads, materialize_grads=True)
    return *second, None


torch.library.register_autograd("stmbench::selective_scan", _first_derivative, setup_context=_remember, lib=_LIBRARY)
torch.library.register_autograd(
    "stmbench::selective_scan_backward", _second_derivative, setup_context=_remember, lib=_LIBRARY
)


def _under_autocast(device_type: str) -> None:
    """The inputs stay as they are, since the arithmetic is in float32 whatever their dtype."""

    def as_it_is(*arguments: Any) -> Tensor:
        with torch.autocast(device_type, enabled=False):
            return SELECTIVE_SCAN(*arguments)

    _LIBRARY.impl("selective_scan", as_it_is, f"Autocast{device_type.upper()}")


for _device_type in ("cpu", "cuda"):
    _under_autocast(_device_type)


def scan_macs(elements: int, states: int) -> int:
    """Products of the four scans of a map of so many elements: four for each state, and two more."""
    return PATHS * elements * (4 * states + 2)


@register_flop_formula(torch.ops.stmbench.selective_scan)
def _flops(
    x: tuple[int, ...],
    delta: tuple[int, ...],
    delta_bias: tuple[int, ...],
    a_log: tuple[int, ...],
    *_: Any,
    out_shape: Any = None,
) -> int:
    return 2 * scan_macs(math.prod(x), a_log[-1])


@register_flop_formula(torch.ops.stmbench.selective_scan_backward)
def _backward_flops(grad: tuple[int, ...], *inputs: Any, out_shape: Any = None) -> int:
    return 2 * _flops(*inputs)
