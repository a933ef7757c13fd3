"""Cross-shaped attention, pixel by pixel."""

import torch
from torch import Tensor

from ..cases import DIM, Case, Plain
from .arithmetic import Parameters, attend, every_pixel, linear, sum_of_neighbours


def cross_shaped_attention(
    parameters: Parameters, x: Tensor, *, num_heads: int, stripe_width: int | None = 1
) -> Tensor:
    rows, columns, dim = x.shape
    qkv = linear(x, parameters, "qkv").unflatten(-1, (3, dim))
    if stripe_width is None:
        return linear(inside_of(qkv, parameters, 0, num_heads), parameters, "proj")
    of_columns, of_rows = qkv[..., : dim // 2], qkv[..., dim // 2 :]
    upright = [
        inside_of(of_columns[:, left : left + stripe_width], parameters, 0, num_heads // 2)
        for left in range(0, columns, stripe_width)
    ]
    lying = [
        inside_of(of_rows[top : top + stripe_width], parameters, 1, num_heads // 2)
        for top in range(0, rows, stripe_width)
    ]
    return linear(torch.cat([torch.cat(upright, 1), torch.cat(lying, 0)], -1), parameters, "proj")


def inside_of(qkv: Tensor, parameters: Parameters, direction: int, num_heads: int) -> Tensor:
    """What a stripe alone, h, w, 3, C, gives: attention among its pixels, and the convolution of its values."""
    queries, keys, values = qkv.unflatten(-1, (num_heads, -1)).unbind(2)
    keys, seen = keys.flatten(0, 1), values.flatten(0, 1)
    attended = every_pixel(*qkv.shape[:2], lambda r, c: attend(queries[r, c], keys, seen))
    kernel = parameters[f"attns.{direction}.get_v.weight"][:, 0].permute(1, 2, 0)
    convolved = sum_of_neighbours(values.flatten(2), lambda r, c: kernel)
    return attended + convolved + parameters[f"attns.{direction}.get_v.bias"]


PLAIN = Plain(
    cross_shaped_attention,
    cases=[Case({"num_heads": 2, "stripe_width": 2})],
    option_cases=[Case({"num_heads": 2, "stripe_width": None}), Case({"num_heads": 4, "stripe_width": 7})],
    steering=("qkv", slice(0, DIM)),
    refused=[
        ({"num_heads": 6}, "num_heads=6: must divide dim=64"),
        ({"num_heads": 1}, "num_heads=1: must be even"),
        ({"num_heads": 2, "stripe_width": 0}, "stripe_width=0: must be at least 1, or None"),
    ],
)
