"""Tables of a window, resized to another window, as the unified network's authors do when they load a checkpoint.

Source: the loader of OpenGVLab/STM-Evaluation (arXiv:2211.05781).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def resized_square_table(table: Tensor, shape: torch.Size) -> Tensor:
    """((2w-1)^2, heads) for another window side w: bicubic.

    Raises: ValueError when the table is of no square, or for another number of heads.
    """
    old, new = math.isqrt(table.shape[0]), math.isqrt(shape[0])
    if table.ndim != 2 or old**2 != table.shape[0] or table.shape[1:] != shape[1:]:
        raise ValueError(f"has shape {tuple(table.shape)}, which is no other window's of {tuple(shape)}")
    grid = table.T.reshape(1, -1, old, old)
    return F.interpolate(grid, (new, new), mode="bicubic", align_corners=False).reshape(-1, new * new).T.contiguous()


def resized_rows(table: Tensor, shape: torch.Size) -> Tensor:
    """(2w-1, d) for another window side w: linear, ends aligned.

    Raises: ValueError when d is another.
    """
    if table.ndim != 2 or table.shape[1:] != shape[1:]:
        raise ValueError(f"has shape {tuple(table.shape)}, which is no other window's of {tuple(shape)}")
    return F.interpolate(table.T[None], shape[0], mode="linear", align_corners=True)[0].T.contiguous()
