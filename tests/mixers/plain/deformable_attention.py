"""Deformable attention, pixel by pixel."""

import math

import torch
from torch import Tensor

from mixers import Mixer

from ..cases import DIM, Case, Plain
from .arithmetic import Parameters, attend, every_pixel, layer_norm, linear, sum_of_neighbours


def deformable_attention(
    parameters: Parameters,
    x: Tensor,
    *,
    num_heads: int,
    groups: int,
    stride: int,
    kernel_size: int,
    table_size: int,
    offset_range: float | None = None,
    reference_points: str = "cell_centres",
) -> Tensor:
    rows, columns, channels = x.shape
    queries = linear(x, parameters, "q")
    kernel = parameters["offset_conv.weight"][:, 0].permute(1, 2, 0)
    assert kernel.shape[0] == kernel_size
    row_points, column_points = range(0, rows, stride), range(0, columns, stride)
    less = 0 if reference_points == "cell_centres" else 1
    # Cells between -1 and 1.
    row_cells, column_cells = max(len(row_points) - less, 1), max(len(column_points) - less, 1)
    sampled, biases = [], []
    for group in range(groups):
        own = slice(group * channels // groups, (group + 1) * channels // groups)
        seen = sum_of_neighbours(queries[..., own], lambda r, c: kernel)[::stride, ::stride]
        seen = layer_norm(seen + parameters["offset_conv.bias"], parameters, "offset_norm")
        moves = linear(seen * 0.5 * (1 + torch.erf(seen / math.sqrt(2))), parameters, "offset_proj")
        if offset_range is not None:
            moves = torch.tanh(moves) * offset_range / torch.tensor([row_cells, column_cells], dtype=x.dtype)

        def place(i: int, j: int, moves: Tensor = moves) -> Tensor:
            start = torch.tensor([(i + 0.5) / row_cells * 2 - 1, (j + 0.5) / column_cells * 2 - 1], dtype=x.dtype)
            return start + moves[i, j] if offset_range is not None else torch.clamp(start + moves[i, j], -1, 1)

        points = every_pixel(len(row_points), len(column_points), place).flatten(0, 1)
        sampled.append(interpolated(x[..., own], points))

        heads = slice(group * num_heads // groups, (group + 1) * num_heads // groups)
        table = parameters["rpe_table"][heads].permute(1, 2, 0)
        assert table.shape[0] == 2 * table_size - 1

        here = torch.tensor(
            [[pixel_place(r, rows, less), pixel_place(c, columns, less)] for r in range(rows) for c in range(columns)],
            dtype=x.dtype,
        )
        bias = interpolated(table, (here[:, None] - points).flatten(0, 1) / 2)
        biases.append(bias.reshape(rows, columns, len(points), -1).transpose(2, 3))
    keys, values = linear(torch.cat(sampled, -1), parameters, "kv").unflatten(-1, (2, num_heads, -1)).unbind(1)
    queries, bias = queries.unflatten(-1, (num_heads, -1)), torch.cat(biases, 2)
    mixed = every_pixel(rows, columns, lambda r, c: attend(queries[r, c], keys, values, bias[r, c]))
    return linear(mixed, parameters, "proj")


def pixel_place(pixel: int, count: int, less: int) -> float:
    """The middle of one of `count` cells between -1 and 1; with one cell less, 0 is at -1 and the last at 1."""
    if less:
        return 2 * pixel / (count - 1) - 1 if count > 1 else 0.0
    return (pixel + 0.5) / count * 2 - 1


def interpolated(pixels: Tensor, places: Tensor) -> Tensor:
    """H, W, C; n, 2 with -1 and 1 at the first and last row and column -> n, C: what a tent at each place covers."""
    rows, columns, _ = pixels.shape
    row, column = ((places + 1) / 2 * (torch.tensor([rows, columns]) - 1)).unbind(-1)
    covers_row = (1 - (row[:, None] - torch.arange(rows)).abs()).clamp(min=0)
    covers_column = (1 - (column[:, None] - torch.arange(columns)).abs()).clamp(min=0)
    return torch.einsum("nh,nw,hwc->nc", covers_row, covers_column, pixels)


def widen_offsets(mixer: Mixer) -> None:
    """Offsets as large as the map, so that some draw reaches every pixel."""
    mixer.offset_proj.weight.data *= 3


USUAL = {"num_heads": 2, "groups": 2, "stride": 4, "kernel_size": 5, "table_size": 4}

PLAIN = Plain(
    deformable_attention,
    cases=[Case(USUAL)],
    option_cases=[
        Case(USUAL | {"groups": 1, "stride": 2, "offset_range": 3.0}),
        Case(USUAL | {"num_heads": 4, "stride": 3, "kernel_size": 3, "reference_points": "stretched"}),
    ],
    steering=("q", slice(0, DIM)),
    draws=40,
    widen=widen_offsets,
    is_counted=False,
    refused=[
        (USUAL | {"num_heads": 7}, "num_heads=7: must divide dim=64"),
        (USUAL | {"groups": 4}, "groups=4: must divide num_heads=2"),
        (USUAL | {"stride": 0}, "stride=0: must be at least 1"),
        (USUAL | {"kernel_size": 4}, "kernel_size=4: must be odd"),
        (USUAL | {"table_size": 1}, "table_size=1: must be at least 2"),
        (USUAL | {"offset_range": -1.0}, "offset_range=-1.0: must be positive or None"),
        (USUAL | {"reference_points": "corners"}, "reference_points='corners': must be one of"),
    ],
)
