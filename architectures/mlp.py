"""The MLP of a block, on maps that stay `B, H, W, C`."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from mixers.kernels.as_built import is_as_built
from mixers.kernels.gelu import gelu, gelu_and_gradients
from mixers.kernels.linear import Linear, onednn_takes, product
from mixers.kernels.residual import residual, takes_residual, write_residual

# Hidden values computed at a time on the CPU: few enough to stay in its caches, enough to keep its cores busy.
CHUNK = 2**20


class MLP(nn.Module):
    """Linear C -> ratio C, GELU, linear back; over the last axis.

    On the CPU, in float32, large maps are computed a few thousand positions at a time, so that hidden maps, several
    times as large as the input, stay in its caches; for the gradient only the one in front of the GELU is kept. That
    reads the layers' parameters: layers with hooks, wrapped or replaced ones are called instead.
    """

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        if not self._takes(x):
            return self.fc2(gelu(self.fc1(x)))
        rows = x.reshape(-1, x.shape[-1])
        if torch.is_grad_enabled():
            output = ChunkedMLP.apply(rows, self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias)
        else:
            output = torch.empty_like(rows)
            for chunk, part in self._parts(rows):
                output[chunk] = part
        return output.reshape(x.shape)

    def added_to(self, base: Tensor, x: Tensor, scale: Tensor | None, keep: Tensor | None) -> Tensor:
        """base + scale * keep * MLP(x), as `residual` has it; MLP(x) need not be there as a whole."""
        if torch.is_grad_enabled() or keep is not None or not (takes_residual(base, x, scale) and self._takes(x)):
            return residual(base, self(x), scale, keep)
        rows, base_rows = x.reshape(-1, x.shape[-1]), base.reshape(-1, x.shape[-1])
        output = torch.empty_like(rows)
        for chunk, part in self._parts(rows):
            write_residual(output[chunk], base_rows[chunk], part, scale)
        return output.reshape(x.shape)

    def _takes(self, x: Tensor) -> bool:
        """Whether both layers are done at once, with their parameters; otherwise they are called."""
        layers = (self.fc1, self.fc2)
        if not all(is_as_built(layer, Linear) for layer in layers):
            return False
        return onednn_takes(x, *(tensor for layer in layers for tensor in (layer.weight, layer.bias)))

    def _parts(self, rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The MLP of a part of `rows` after the other; without gradients."""
        weight1, weight2 = self.fc1.weight_for(rows), self.fc2.weight_for(rows)
        for chunk in chunks(len(rows), self.fc1.out_features):
            yield chunk, product(product(rows[chunk], weight1, self.fc1.bias, gelu=True), weight2, self.fc2.bias)


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
