"""Sums that come out the same in whatever order they are added up: in 64-bit integers, scaled so that none overflows.

Threads of a GPU meet in the gradient of `value` in an order that changes from run to run, and floating-point sums
change with it. At 2^62 for the largest sum that could be, these are finer than float32.
"""

import torch
from torch import Tensor


def factor_for(grad: Tensor, weights: Tensor) -> Tensor:
    """Scalar float32 on the tensors' device: the power of two that contributions are multiplied by.

    A pixel and channel gets at most one contribution from each sampling point of an image and group, none larger than
    the largest gradient times the largest weight. Where one of these is not finite, no sum will be.
    """
    rows, columns, _, points = weights.shape[1:]
    largest = grad.abs().amax().double() * weights.abs().amax().double() * (rows * columns * points)
    return torch.exp2((62 - largest.log2().ceil()).clamp(max=126)).float()


def to_float(sums: Tensor, factor: Tensor) -> Tensor:
    """float32 of int64 sums of contributions multiplied by `factor`."""
    return (sums.double() / factor.double()).float()
