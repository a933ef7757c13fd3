"""What networks call, and which code computes it."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from .. import used
from ..compiler import runs_on_cpu
from ..elementwise import PARTS, rows, takes

SOURCE = Path(__file__).with_name("gelu.cpp")


def gelu(x: Tensor) -> Tensor:
    """`F.gelu(x)`, the exact one.

    On the CPU, in float32, gelu.cpp computes large maps, where it can be compiled.
    """
    if not takes(SOURCE, x):
        used.note("gelu", used.REFERENCE)
        return F.gelu(x)
    used.note("gelu", "cpp")
    return _GELU.apply(x) if torch.is_grad_enabled() else _forward(x)


def gelu_and_gradients(x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """GELU of contiguous rows n, C, what `grad`, its gradient, says of x, and the sums of that over rows; no autograd.

    The second lies where `grad` was.
    """
    if not runs_on_cpu(SOURCE):
        used.note("gelu", used.REFERENCE)
        output = F.gelu(x)
        torch.ops.aten.gelu_backward.grad_input(grad, x, grad_input=grad)
        return output, grad, grad.sum(0)
    used.note("gelu", "cpp")
    output, parts = torch.empty_like(x), x.new_empty(PARTS, x.shape[1])
    torch.ops.stmbench_cpp.gelu_backward(grad, output, parts, grad, x)
    return output, grad, parts.sum(0)


class _GELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _forward(x)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated once more
            return torch.ops.aten.gelu_backward(grad, x)
        grad, x = grad.contiguous(), x.contiguous()
        grad_x = torch.empty_like(x)
        torch.ops.stmbench_cpp.gelu_backward(rows(grad_x), None, None, rows(grad), rows(x))
        return grad_x


def _forward(x: Tensor) -> Tensor:
    x = x.contiguous()
    output = torch.empty_like(x)
    torch.ops.stmbench_cpp.gelu(output, x)
    return output
