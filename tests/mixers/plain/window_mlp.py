"""Window MLP, pixel by pixel."""

import torch
from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, every_pixel


def window_mlp(
    parameters: Parameters, x: Tensor, *, num_heads: int, window_size: int = 7, shift_size: int = 0
) -> Tensor:
    """Each window has its own corner on the map, or outside of it, from which places in it are counted."""
    rows, columns, _ = x.shape
    shift = shift_size if min(rows, columns) > window_size else 0
    weight = parameters["weight"].reshape(num_heads, *(window_size,) * 4)  # row and column of the output, of the input
    bias = parameters["bias"].reshape(num_heads, window_size, window_size)

    def output_at(r: int, c: int) -> Tensor:
        i, j = (r - shift) % window_size, (c - shift) % window_size
        top, left = r - i, c - j
        first_row, last_row = max(top, 0), min(top + window_size, rows)
        first_column, last_column = max(left, 0), min(left + window_size, columns)
        seen = x[first_row:last_row, first_column:last_column].unflatten(-1, (num_heads, -1))
        places = weight[:, i, j, first_row - top : last_row - top, first_column - left : last_column - left]
        return (torch.einsum("hrc,rchd->hd", places, seen) + bias[:, i, j, None]).flatten()

    return every_pixel(rows, columns, output_at)


PLAIN = Plain(
    window_mlp,
    cases=[Case({"num_heads": 2, "shift_size": 3})],
    option_cases=[Case({"num_heads": 2}), Case({"num_heads": 8, "window_size": 4, "shift_size": 1})],
    refused=[
        ({"num_heads": 7}, "num_heads=7: must divide dim=64"),
        ({"num_heads": 2, "window_size": 0}, "window_size=0: must be at least 1"),
        ({"num_heads": 2, "shift_size": 7}, "shift_size=7.*less than window_size=7"),
    ],
)
