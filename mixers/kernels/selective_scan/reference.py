"""The selective scan in plain PyTorch, one step after the other: every other implementation must give these numbers.

Along each path, with the step sizes D_t = softplus(delta_t + delta_bias), for each channel and state:

    h_t = exp(a D_t) h_{t-1} + D_t x_t b_t,    h_0 = 0
    y_t = sum over states of c_t h_t, + d x_t

All paths and images, channels and states are done together; the steps are a loop in Python.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .paths import PATHS, along_paths, back_on_maps

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def arithmetic(dtype: torch.dtype) -> torch.dtype:
    """What a scan of a map of this dtype is computed in, and what it returns."""
    return torch.promote_types(dtype, torch.float32)


def forward(x: Tensor, delta: Tensor, delta_bias: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The sum of the four scans, B, H, W, E. Differentiable, any number of times.

    x: B, H, W, E; delta: 4, B, H, W, E; delta_bias, d: 4, E; a: 4, E, S, negative; b, c: 4, B, H, W, S.
    """
    x, delta, delta_bias, a, b, c, d, rows, columns = _along_paths(x, delta, delta_bias, a, b, c, d)
    steps = _softplus(delta + delta_bias)
    decays, entering = torch.exp(steps * a), steps * x * b  # 4, B, L, E, S
    state = torch.zeros_like(entering[:, :, 0])
    outputs = []
    for decay, enters, reads in zip(decays.unbind(2), entering.unbind(2), c.unbind(2), strict=True):
        state = decay * state + enters
        outputs.append((state * reads).sum(-1))
    y = torch.stack(outputs, 2) + (d * x).squeeze(-1)
    return back_on_maps(y, rows, columns).sum(0)


def backward(
    grad: Tensor, x: Tensor, delta: Tensor, delta_bias: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> Gradients:
    """Gradients of all seven from the one of the output. Not differentiable itself: see `forward`."""
    grad = _of_each_path(grad.to(arithmetic(x.dtype)))
    x, delta, delta_bias, a, b, c, d, rows, columns = _along_paths(x, delta, delta_bias, a, b, c, d)
    steps = _softplus(delta + delta_bias)
    decays, entering = torch.exp(steps * a), steps * x * b
    before = torch.zeros_like(entering)  # each step's h_{t-1}
    for t in range(1, before.shape[2]):
        before[:, :, t] = decays[:, :, t - 1] * before[:, :, t - 1] + entering[:, :, t - 1]
    grad_state = c * grad
    for t in reversed(range(before.shape[2] - 1)):
        grad_state[:, :, t] += decays[:, :, t + 1] * grad_state[:, :, t + 1]
    grad_exponent = grad_state * decays * before
    grad_enters = (grad_state * b).sum(-1, keepdim=True)  # of D_t x_t
    grad_delta = (grad_exponent * a).sum(-1, keepdim=True) + grad_enters * x
    grad_delta = grad_delta * torch.sigmoid(delta + delta_bias)

    def on_maps(sequences: Tensor) -> Tensor:
        return back_on_maps(sequences, rows, columns)

    return (
        on_maps((d * grad + grad_enters * steps).squeeze(-1)).sum(0),
        on_maps(grad_delta.squeeze(-1)),
        grad_delta.sum((1, 2)).squeeze(-1),
        (grad_exponent * steps).sum((1, 2)),
        on_maps((grad_state * steps * x).sum(-2)),
        on_maps(((decays * before + entering) * grad).sum(-2)),
        (grad * x).sum((1, 2)).squeeze(-1),
    )


def _softplus(x: Tensor) -> Tensor:
    # F.softplus is linear from 20 on, which is off by 2e-9 there.
    return -F.logsigmoid(-x)


def _along_paths(
    x: Tensor, delta: Tensor, delta_bias: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int, int]:
    """All with the axes 4, B, L, E, S, some of them 1, in the dtype of the arithmetic; and the map's rows, columns."""
    rows, columns = x.shape[1:3]
    precise = arithmetic(x.dtype)
    b, c = (along_paths(each.to(precise)).unsqueeze(-2) for each in (b, c))
    delta = along_paths(delta.to(precise)).unsqueeze(-1)
    delta_bias, d = (each.to(precise)[:, None, None, :, None] for each in (delta_bias, d))
    return _of_each_path(x.to(precise)), delta, delta_bias, a.to(precise)[:, None, None], b, c, d, rows, columns


def _of_each_path(x: Tensor) -> Tensor:
    """B, H, W, E -> 4, B, L, E, 1."""
    return along_paths(x.expand(PATHS, *x.shape)).unsqueeze(-1)
