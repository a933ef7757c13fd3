"""Linear layers with oneDNN's matrix product on the CPU, which is faster there than the BLAS that PyTorch calls.

PyTorch carries oneDNN and uses it for float32 convolutions, but for float32 linear layers only in compiled code. Here
the same operator serves eager mode, forward and in the gradient of the input.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.utils.flop_counter import register_flop_formula

from . import used
from .eager import computed_now_on_cpu, traced
from .frozen import KeepsWhenFrozen, anew

# Fewer multiply-accumulates than this are done sooner by PyTorch's BLAS: a call of oneDNN starts with some 10
# microseconds of overhead and reorders the weights. Measured on one and two cores, for 32 to 3072 channels.
FEWEST_MACS = 2**24
# Weights as large as these meet few rows then, and reading them is most of the work: oneDNN takes 0.3 to 0.7 of its
# time, measured for 1 to 49 rows and weights from 640 x 320 to 37632 x 192, on two cores.
LARGE_WEIGHT, FEWEST_MACS_OF_LARGE = 2**16, 2**18

# Absent where PyTorch was built without oneDNN.
_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def onednn_takes(x: Tensor, weight: Tensor, *others: Tensor | None) -> bool:
    """Whether oneDNN computes a linear layer of these tensors (others: a bias, more layers; None: there is no bias).

    `torch.backends.mkldnn.enabled = False` keeps it from doing so.
    """
    # A graph must not depend on sizes, so `traced` comes first; small layers last no longer than the other questions.
    if traced():
        return False
    fewest = FEWEST_MACS if weight.numel() < LARGE_WEIGHT else FEWEST_MACS_OF_LARGE
    if x.numel() * weight.shape[0] < fewest:
        return False
    present = [tensor for tensor in (x, weight, *others) if tensor is not None]
    wanted = _AVAILABLE and torch.backends.mkldnn.enabled
    return wanted and all(tensor.dtype == torch.float32 for tensor in present) and computed_now_on_cpu(*present)


if _AVAILABLE:

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _flops(x: tuple[int, ...], weight: tuple[int, ...], *_: object, out_shape: object = None) -> int:
        return 2 * math.prod(x) * weight[0]


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """x weight^T + bias by oneDNN, then GELU (the exact one) if asked for; no autograd. `weight` may be a view."""
    used.note("linear", "onednn")
    if gelu:
        used.note("gelu", "onednn")
    activation, algorithm = ("gelu", "none") if gelu else ("none", "")
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], algorithm)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = grad.flatten(0, -2)
        if torch.is_grad_enabled():  # to be differentiated once more
            grad_x = grad @ weight if of_x else None
        else:
            grad_x = product(grad, weight.t()) if of_x else None
        grad_weight = rows.t() @ x.flatten(0, -2) if of_weight else None
        return grad_x, grad_weight, rows.sum(0) if of_bias else None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, computed by oneDNN where that is possible."""
    if x.dim() < 2 or not onednn_takes(x, weight, bias):
        used.note("linear", used.REFERENCE)
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias)
    return product(x, weight, bias)


class MatrixLayer(KeepsWhenFrozen):
    """What a layer inherits from, in front of one of PyTorch's, whose work is a product with its weights: `linear` of
    the last axis. Frozen, it keeps its weights in oneDNN's order as well."""

    def matrix(self) -> Tensor:
        """The weights as outputs x inputs."""
        return self.weight.flatten(1)

    def weight_for(self, x: Tensor) -> Tensor:
        """The weights for the `product` with x; those that are kept are in the order that suits its number of rows."""
        if self.keep is anew:
            return self.matrix()
        rows = x.numel() // max(x.shape[-1], 1)
        return self.keep(
            lambda: torch.ops.mkldnn._reorder_linear_weight(self.matrix().detach().contiguous(), rows),
            self.weight,
            rows,
        )

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.dim() < 2 or not onednn_takes(x, self.matrix(), self.bias):
            return linear(x, self.matrix(), self.bias)
        return product(x, self.weight_for(x), self.bias)


class Linear(MatrixLayer, nn.Linear):
    """`nn.Linear`, computed by `linear`."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)

    def matrix(self) -> Tensor:
        return self.weight
