"""The four paths along which a map is scanned; each visits every pixel once.

Row by row, column by column, and both of these backwards, in this order: the cross-scan of Liu et al., "VMamba: Visual
State Space Model", arXiv:2401.10166, section 4.2.
"""

import torch
from torch import Tensor

PATHS = 4


def along_paths(maps: Tensor) -> Tensor:
    """4, B, H, W, n -> 4, B, H * W, n: the pixels of each path's own map in the order in which it visits them."""
    by_rows, by_columns, by_rows_back, by_columns_back = maps.unbind(0)
    return torch.stack(
        (
            by_rows.flatten(1, 2),
            by_columns.transpose(1, 2).flatten(1, 2),
            by_rows_back.flatten(1, 2).flip(1),
            by_columns_back.transpose(1, 2).flatten(1, 2).flip(1),
        )
    )


def back_on_maps(sequences: Tensor, rows: int, columns: int) -> Tensor:
    """4, B, H * W, n -> 4, B, H, W, n: the inverse of `along_paths`."""
    by_rows, by_columns, by_rows_back, by_columns_back = sequences.unbind(0)
    return torch.stack(
        (
            by_rows.unflatten(1, (rows, columns)),
            by_columns.unflatten(1, (columns, rows)).transpose(1, 2),
            by_rows_back.flip(1).unflatten(1, (rows, columns)),
            by_columns_back.flip(1).unflatten(1, (columns, rows)).transpose(1, 2),
        )
    )
