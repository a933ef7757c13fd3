"""What blocks call, and which code computes it."""

from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from .. import used
from ..elementwise import PARTS, rows, takes

SOURCE = Path(__file__).with_name("residual.cpp")


def residual(x: Tensor, branch: Tensor, scale: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
    """x + scale * keep * branch.

    On the CPU, in float32, residual.cpp computes large maps, where it can be compiled.

    Args:
        x, branch: B, H, W, C.
        scale: C, the layer scale, or None for 1.
        keep: B, stochastic depth's factor of each image, or None for 1.
    """
    if not takes_residual(x, branch, scale, keep):
        used.note("residual", used.REFERENCE)
        branch = branch if scale is None else branch * scale
        return x + (branch if keep is None else branch * keep.view(-1, 1, 1, 1))
    if torch.is_grad_enabled():
        return _Residual.apply(x, branch, scale, keep)
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    write_residual(rows(output), rows(x), rows(branch), scale, keep)
    return output


def takes_residual(x: Tensor, *others: Tensor | None) -> bool:
    """Whether residual.cpp computes a connection of these tensors; the second is the branch."""
    branch, *factors = others
    present = [x, branch, *(factor for factor in factors if factor is not None)]
    return takes(SOURCE, *present) and x.shape == branch.shape


def write_residual(
    output: Tensor, x: Tensor, branch: Tensor, scale: Tensor | None = None, keep: Tensor | None = None
) -> None:
    """x + scale * keep * branch of contiguous rows n, C into `output`, by residual.cpp; no autograd."""
    used.note("residual", "cpp")
    torch.ops.stmbench_cpp.residual(output, x, branch, _contiguous(scale), _contiguous(keep))


def _contiguous(factors: Tensor | None) -> Tensor | None:
    return None if factors is None else factors.contiguous()


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, branch: Tensor, scale: Tensor | None, keep: Tensor | None) -> Tensor:
        ctx.save_for_backward(branch, scale, keep)
        output = torch.empty_like(x, memory_format=torch.contiguous_format)
        write_residual(rows(output), rows(x), rows(branch), scale, keep)
        return output

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        branch, scale, keep = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated once more
            kept = grad if keep is None else grad * keep.view(-1, 1, 1, 1)
            grad_scale = None if scale is None else (kept * branch).flatten(0, -2).sum(0)
            return grad, kept if scale is None else kept * scale, grad_scale, None
        if scale is None and keep is None:
            return grad, grad, None, None
        grad_branch = torch.empty_like(branch, memory_format=torch.contiguous_format)
        parts = grad.new_empty(PARTS, grad.shape[-1]) if scale is not None and ctx.needs_input_grad[2] else None
        factors = _contiguous(scale), _contiguous(keep)
        torch.ops.stmbench_cpp.residual_backward(rows(grad_branch), parts, rows(grad), rows(branch), *factors)
        return grad, grad_branch, None if parts is None else parts.sum(0), None
