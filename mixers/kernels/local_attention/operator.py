"""`stmbench::local_attention`: our own implementations as an operator of PyTorch, for autograd, compile and counters.

Which of them computes it is its last argument. The reference is no part of it: PyTorch sees its operations themselves.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.utils.flop_counter import register_flop_formula

from .. import used
from . import cpp_kernels, reference
from .geometry import Geometry
from .implementations import module_of

_ADDED = "Tensor? bias, Tensor? row_table, Tensor? column_table"
_NUMBERS = "int block_size, int halo_size, int shift, str implementation"
_ARGUMENTS = f"Tensor query, Tensor key, Tensor value, {_ADDED}, {_NUMBERS}"
_LIBRARY = torch.library.Library("stmbench", "FRAGMENT")
_LIBRARY.define(f"local_attention({_ARGUMENTS}) -> (Tensor, Tensor)")
_LIBRARY.define(f"local_attention_backward(Tensor grad, Tensor output, Tensor log_sums, {_ARGUMENTS}) -> Tensor[]")
LOCAL_ATTENTION = torch.ops.stmbench.local_attention.default
LOCAL_ATTENTION_BACKWARD = torch.ops.stmbench.local_attention_backward.default


@torch.library.impl("stmbench::local_attention", "default", lib=_LIBRARY)
def _forward(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    *added, block_size, halo_size, shift, implementation = rest
    used.note("local_attention", implementation)
    geometry = Geometry(block_size, halo_size, shift)
    return module_of(implementation).forward(query, key, value, added, geometry)


@torch.library.impl("stmbench::local_attention_backward", "default", lib=_LIBRARY)
def _backward(grad: Tensor, output: Tensor, log_sums: Tensor, *arguments: Any) -> list[Tensor]:
    *inputs, block_size, halo_size, shift, implementation = arguments
    query, key, value, *added = inputs
    geometry = Geometry(block_size, halo_size, shift)
    # The C++ kernel holds a whole window, and has no need of the output to sum over it.
    saved = (log_sums,) if implementation == "cpp" else (output, log_sums)
    grads = module_of(implementation).backward(grad, *saved, query, key, value, added, geometry)
    return [grad.to(tensor.dtype) for grad, tensor in zip(grads, inputs, strict=True) if tensor is not None]


@torch.library.register_fake("stmbench::local_attention", lib=_LIBRARY)
def _fake_forward(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    log_sums = query.new_empty(query.shape[:-1], dtype=cpp_kernels.arithmetic(query.dtype))
    return query.new_empty(query.shape), log_sums


@torch.library.register_fake("stmbench::local_attention_backward", lib=_LIBRARY)
def _fake_backward(grad: Tensor, output: Tensor, log_sums: Tensor, *arguments: Any) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in arguments[:6] if tensor is not None]


def _plainly(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    row_table: Tensor | None,
    column_table: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    """The output with PyTorch's own functions, differentiable any number of times."""
    logits = reference.fixed_logits(None if bias is None else bias.transpose(1, 2), query, geometry)
    return reference.forward(query, key, value, logits, row_table, column_table, geometry)


def _remember(ctx: FunctionCtx, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output, *inputs[:6])
    ctx.mark_non_differentiable(output[1])
    ctx.numbers = inputs[6:]


def _first_derivative(ctx: FunctionCtx, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    output, log_sums, *inputs = ctx.saved_tensors
    grads = iter(LOCAL_ATTENTION_BACKWARD(grad, output, log_sums, *inputs, *ctx.numbers))
    return *(None if tensor is None else next(grads) for tensor in inputs), *(None for _ in ctx.numbers)


def _remember_for_second(ctx: FunctionCtx, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    grad, _, _, *arguments = inputs
    ctx.save_for_backward(grad, *arguments[:6])
    ctx.numbers = arguments[6:]


def _second_derivative(ctx: FunctionCtx, grad_grads: list[Tensor]) -> tuple[Tensor | None, ...]:
    """Differentiates the reference twice, whatever computed the first derivative."""
    geometry = Geometry(*ctx.numbers[:-1])
    saved = [None if tensor is None else tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
    grad, *inputs = saved
    present = [tensor for tensor in inputs if tensor is not None]
    with torch.enable_grad():
        output = _plainly(*inputs, geometry)
        first = torch.autograd.grad(output, present, grad, create_graph=True)
        leaves = [grad, *present]
        second = iter(torch.autograd.grad(first, leaves, grad_grads, materialize_grads=True))
    of_grad, of_output, of_log_sums = next(second), None, None  # the last two follow from the inputs
    of_inputs = (None if tensor is None else next(second) for tensor in inputs)
    return of_grad, of_output, of_log_sums, *of_inputs, *(None for _ in ctx.numbers)


torch.library.register_autograd("stmbench::local_attention", _first_derivative, setup_context=_remember, lib=_LIBRARY)
torch.library.register_autograd(
    "stmbench::local_attention_backward", _second_derivative, setup_context=_remember_for_second, lib=_LIBRARY
)


@register_flop_formula(torch.ops.stmbench.local_attention)
def _flops(
    query: tuple[int, ...],
    key: tuple[int, ...],
    value: tuple[int, ...],
    bias: Any,
    row_table: Any,
    column_table: Any,
    *numbers: Any,
    out_shape: Any = None,
) -> int:
    batch, rows, columns, heads, width = query
    return 2 * batch * Geometry(*numbers[:-1]).macs(rows, columns, heads * width, relative=row_table is not None)


@register_flop_formula(torch.ops.stmbench.local_attention_backward)
def _backward_flops(
    grad: tuple[int, ...], output: tuple[int, ...], log_sums: tuple[int, ...], *arguments: Any, out_shape: Any = None
) -> int:
    # Scores once more, and two products for each one of the forward pass.
    return _flops(*arguments) // 2 * 5
