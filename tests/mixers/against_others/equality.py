"""How a mixer is held against somebody else's code: outputs and gradients of the input, in float64."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..cases import random_map


def assert_equal_to(
    ours: Callable[[Tensor], Tensor],
    theirs: Callable[[Tensor], Tensor],
    *,
    dim: int,
    resolution: tuple[int, int],
    tolerance: float = 1e-12,
) -> None:
    """Both take and return B, H, W, C. The tolerance is relative to the largest number."""
    x = random_map(*resolution, batch=2, dim=dim).requires_grad_()
    cotangent = random_map(*resolution, batch=2, dim=dim, seed=2)
    output, wanted = ours(x), theirs(x)
    gradient, wanted_gradient = (torch.autograd.grad(y, x, cotangent)[0] for y in (output, wanted))
    for got, expected in ((output, wanted), (gradient, wanted_gradient)):
        torch.testing.assert_close(got, expected, rtol=0, atol=tolerance * float(expected.detach().abs().max()))


def channels_first(module: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """For B, H, W, C, what computes with B, C, H, W."""
    return lambda x: module(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
