"""Padding that makes windows, patches and 2x2 merges fit a map of any size."""

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, divisor: int) -> Tensor:
    """`B, H, W, C`, zero-padded at the bottom and the right until `divisor` divides H and W."""
    bottom, right = -x.shape[1] % divisor, -x.shape[2] % divisor
    return F.pad(x, (0, 0, 0, right, 0, bottom)) if bottom or right else x
