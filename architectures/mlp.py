"""The MLP of a block, on maps that stay `B, H, W, C`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from mixers.kernels.gelu import gelu, gelu_and_gradients
from mixers.kernels.linear import Linear, onednn_takes, product
from mixers.kernels.residual import residual, takes_residual, write_residual

# Hidden values computed at a time on the CPU: few enough to stay in its caches, enough to keep its cores busy.
CHUNK = 2**20


class MLP(nn.Module):
    """Linear C -> ratio C, GELU, linear back; over the last axis.

    On the CPU, in float32, large maps are computed a few thousand positions at a time, so that hidden maps, several
    times as large as the input, stay in its caches; for the gradient only the one in front of the GELU is kept.
    """

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)

    def forward(
        self, x: Tensor, *, onto: Tensor | None = None, scale: Tensor | None = None, keep: Tensor | None = None
    ) -> Tensor:
        """MLP(x); with a map `onto` of the same shape, onto + scale * keep * MLP(x), as `residual` does."""
        parameters = (self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias)
        if not onednn_takes(x, *parameters):
            return _added(plain_mlp(x, *parameters), onto, scale, keep)
        rows = x.reshape(-1, x.shape[-1])
        if torch.is_grad_enabled():
            return _added(ChunkedMLP.apply(rows, *parameters).reshape(x.shape), onto, scale, keep)
        output = torch.empty_like(rows)
        weight1, weight2 = self.fc1.weight_for(rows), self.fc2.weight_for(rows)
        at_once = onto is not None and keep is None and takes_residual(onto, x, scale)
        base = onto.reshape(rows.shape) if at_once else None
        for chunk in chunks(len(rows), self.fc1.out_features):
            branch = product(product(rows[chunk], weight1, self.fc1.bias, gelu=True), weight2, self.fc2.bias)
            if base is None:
                output[chunk] = branch
            else:
                write_residual(output[chunk], base[chunk], branch, scale)
        output = output.reshape(x.shape)
        return output if at_once else _added(output, onto, scale, keep)


def _added(branch: Tensor, onto: Tensor | None, scale: Tensor | None, keep: Tensor | None) -> Tensor:
    return branch if onto is None else residual(onto, branch, scale, keep)


def plain_mlp(x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
    return F.linear(F.gelu(F.linear(x, weight1, bias1)), weight2, bias2)


def chunks(rows: int, hidden: int) -> list[slice]:
    """Parts of `rows` positions whose hidden values are about CHUNK, all of them equally long but for the last."""
    count = max(round(rows * hidden / CHUNK), 1)
    length = max(-(-rows // count), 1)
    return [slice(start, start + length) for start in range(0, rows, length)]


class ChunkedMLP(torch.autograd.Function):
    """Rows -> rows. Hidden values after the GELU are computed again for the gradient, chunk by chunk."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
        output = torch.empty_like(x)
        hidden_maps = []
        for chunk in chunks(len(x), len(weight1)):
            hidden = product(x[chunk], weight1, bias1)
            output[chunk] = product(gelu(hidden), weight2, bias2)
            hidden_maps.append(hidden)
        ctx.save_for_backward(x, weight1, bias1, weight2, bias2, *hidden_maps)
        return output

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: gradient checkpointing computes them when they are asked for
        inputs, hidden_maps = saved[:5], saved[5:]
        if torch.is_grad_enabled():  # to be differentiated once more
            return plain_gradients(grad, inputs, ctx.needs_input_grad)
        x, weight1, _, weight2, _ = inputs
        grad = grad.contiguous()
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_weight1, grad_weight2 = torch.empty_like(weight1), torch.empty_like(weight2)
        grad_bias1, grad_bias2 = x.new_zeros(len(weight1)), grad.sum(0)
        before = 0  # factor of what the gradients of the weights are so far
        for chunk, hidden in zip(chunks(len(x), len(weight1)), hidden_maps, strict=True):
            activated, grad_hidden, bias_sum = gelu_and_gradients(hidden, product(grad[chunk], weight2.t()))
            grad_weight2.addmm_(grad[chunk].t(), activated, beta=before)
            grad_weight1.addmm_(grad_hidden.t(), x[chunk], beta=before)
            before = 1
            grad_bias1 += bias_sum
            if grad_x is not None:
                grad_x[chunk] = product(grad_hidden, weight1.t())
        return grad_x, grad_weight1, grad_bias1, grad_weight2, grad_bias2


def plain_gradients(grad: Tensor, inputs: tuple[Tensor, ...], needed: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
    gradients = iter(torch.autograd.grad(plain_mlp(*inputs), wanted, grad, create_graph=True))
    return tuple(next(gradients) if need else None for need in needed)
