"""`stmbench::depthwise_conv`: the C++ implementation as an operator of PyTorch, for autograd, compile and counters."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.utils.flop_counter import register_flop_formula

from . import cpp_kernels, reference

_LIBRARY = torch.library.Library("stmbench", "FRAGMENT")
_LIBRARY.define("depthwise_conv(Tensor x, Tensor kernels, Tensor? bias) -> Tensor")
_LIBRARY.define("depthwise_conv_backward(Tensor grad, Tensor x, Tensor kernels) -> (Tensor, Tensor, Tensor)")
DEPTHWISE_CONV = torch.ops.stmbench.depthwise_conv.default
DEPTHWISE_CONV_BACKWARD = torch.ops.stmbench.depthwise_conv_backward.default

_LIBRARY.impl("depthwise_conv", cpp_kernels.forward, "CPU")
_LIBRARY.impl("depthwise_conv_backward", cpp_kernels.backward, "CPU")


@torch.library.register_fake("stmbench::depthwise_conv", lib=_LIBRARY)
def _fake_forward(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.register_fake("stmbench::depthwise_conv_backward", lib=_LIBRARY)
def _fake_backward(grad: Tensor, x: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), kernels.new_empty(kernels.shape), kernels.new_empty(kernels.shape[-3])


def _remember(ctx: FunctionCtx, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    x, kernels, bias = inputs
    ctx.save_for_backward(x, kernels)
    ctx.has_bias = bias is not None


def _first_derivative(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad_x, grad_kernels, grad_bias = DEPTHWISE_CONV_BACKWARD(grad, *ctx.saved_tensors)
    return grad_x, grad_kernels, grad_bias if ctx.has_bias else None


def _remember_for_second(ctx: FunctionCtx, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs)


def _second_derivative(ctx: FunctionCtx, *grad_grads: Tensor) -> tuple[Tensor, ...]:
    """Differentiates the reference twice."""
    with torch.enable_grad():
        grad, x, kernels = (tensor.detach().requires_grad_() for tensor in ctx.saved_tensors)
        bias = kernels.new_zeros(kernels.shape[-3], requires_grad=True)
        output = reference.forward(x, kernels, bias)
        first = torch.autograd.grad(output, (x, kernels, bias), grad, create_graph=True)
        return torch.autograd.grad(first, (grad, x, kernels), grad_grads, materialize_grads=True)


torch.library.register_autograd("stmbench::depthwise_conv", _first_derivative, setup_context=_remember, lib=_LIBRARY)
torch.library.register_autograd(
    "stmbench::depthwise_conv_backward", _second_derivative, setup_context=_remember_for_second, lib=_LIBRARY
)


@register_flop_formula(torch.ops.stmbench.depthwise_conv)
def _flops(x: tuple[int, ...], kernels: tuple[int, ...], *_: Any, out_shape: Any = None) -> int:
    return 2 * math.prod(x) * math.prod(kernels[-2:])


@register_flop_formula(torch.ops.stmbench.depthwise_conv_backward)
def _backward_flops(grad: tuple[int, ...], x: tuple[int, ...], kernels: tuple[int, ...], out_shape: Any = None) -> int:
    return 2 * _flops(x, kernels)
