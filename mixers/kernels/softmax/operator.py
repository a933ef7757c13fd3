"""`stmbench::softmax`: the C++ implementation as an operator of PyTorch, for autograd and compile."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from . import cpp_kernels

_LIBRARY = torch.library.Library("stmbench", "FRAGMENT")
_LIBRARY.define("softmax(Tensor x) -> Tensor")
_LIBRARY.define("softmax_backward(Tensor grad, Tensor output) -> Tensor")
SOFTMAX = torch.ops.stmbench.softmax.default
SOFTMAX_BACKWARD = torch.ops.stmbench.softmax_backward.default

_LIBRARY.impl("softmax", cpp_kernels.forward, "CPU")
_LIBRARY.impl("softmax_backward", cpp_kernels.backward, "CPU")


@torch.library.register_fake("stmbench::softmax", lib=_LIBRARY)
def _fake_forward(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.register_fake("stmbench::softmax_backward", lib=_LIBRARY)
def _fake_backward(grad: Tensor, output: Tensor) -> Tensor:
    return output.new_empty(output.shape)


def _remember_output(ctx: FunctionCtx, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(output)


def _first_derivative(ctx: FunctionCtx, grad: Tensor) -> Tensor:
    return SOFTMAX_BACKWARD(grad, *ctx.saved_tensors)


def _remember_inputs(ctx: FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _second_derivative(ctx: FunctionCtx, grad_grad: Tensor) -> tuple[Tensor, Tensor]:
    """Of p (g - p·g) to g and to p, for probabilities p and their gradients g."""
    grad, output = ctx.saved_tensors
    mean, mean_grad = ((output * tensor).sum(-1, keepdim=True) for tensor in (grad, grad_grad))
    return output * (grad_grad - mean_grad), grad_grad * (grad - mean) - grad * mean_grad


torch.library.register_autograd("stmbench::softmax", _first_derivative, setup_context=_remember_output, lib=_LIBRARY)
torch.library.register_autograd(
    "stmbench::softmax_backward", _second_derivative, setup_context=_remember_inputs, lib=_LIBRARY
)
