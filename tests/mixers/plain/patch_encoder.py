"""Patch encoder, pixel by pixel."""

import torch
from torch import Tensor

from ..cases import DIM, Case, Plain
from .arithmetic import Parameters, attend, every_pixel, linear


def patch_encoder(
    parameters: Parameters, x: Tensor, *, num_heads: int, patch_size: int, conv_kernel_size: int | None = None
) -> Tensor:
    rows, columns, channels = x.shape

    row_positions = torch.stack([parameters["row_position"][r % patch_size] for r in range(rows)])
    column_positions = torch.stack([parameters["column_position"][c % patch_size] for c in range(columns)])
    halves = row_positions[:, None].expand(-1, columns, -1), column_positions.expand(rows, -1, -1)
    placed = x + torch.cat(halves, -1)
    queries, keys, values = linear(placed, parameters, "qkv").unflatten(-1, (3, num_heads, -1)).unbind(2)

    def attended_at(r: int, c: int) -> Tensor:
        top, left = r - r % patch_size, c - c % patch_size
        patch = slice(top, top + patch_size), slice(left, left + patch_size)
        return attend(queries[r, c], keys[patch].flatten(0, 1), values[patch].flatten(0, 1))

    attended = linear(every_pixel(rows, columns, attended_at), parameters, "proj")
    if conv_kernel_size is None:
        return attended
    kernel, radius = parameters["conv.weight"], conv_kernel_size // 2
    aside = attended.new_zeros(rows, radius, channels)
    above = attended.new_zeros(radius, columns + 2 * radius, channels)
    around = torch.cat([above, torch.cat([aside, attended, aside], 1), above])

    taps = [(i, j) for i in range(conv_kernel_size) for j in range(conv_kernel_size)]
    return sum(around[i : i + rows, j : j + columns] @ kernel[:, :, i, j].T for i, j in taps)


PLAIN = Plain(
    patch_encoder,
    cases=[Case({"num_heads": 2, "patch_size": 7, "conv_kernel_size": 3})],
    option_cases=[
        Case({"num_heads": 1, "patch_size": 14}),
        Case({"num_heads": 4, "patch_size": 4, "conv_kernel_size": 5}),
    ],
    steering=("qkv", slice(0, DIM)),
    refused=[
        ({"num_heads": 7, "patch_size": 7, "conv_kernel_size": 3}, "num_heads=7: must divide dim=64"),
        ({"num_heads": 2, "patch_size": 0, "conv_kernel_size": 3}, "patch_size=0: must be at least 1"),
        ({"num_heads": 2, "patch_size": 7, "conv_kernel_size": 2}, "conv_kernel_size=2: must be odd"),
        ({"num_heads": 2, "patch_size": 7, "implementation": "fast"}, "one of auto, cpp"),
    ],
)
