"""Outlook attention, window by window."""

import math

import torch
from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, linear


def outlook_attention(
    parameters: Parameters, x: Tensor, *, num_heads: int, kernel_size: int = 3, stride: int = 2
) -> Tensor:
    rows, columns, channels = x.shape
    radius, taps = kernel_size // 2, kernel_size**2
    values = linear(x, parameters, "v")
    around = torch.cat(
        [values.new_zeros(radius, columns, channels), values, values.new_zeros(radius, columns, channels)]
    )
    sides = values.new_zeros(rows + 2 * radius, radius, channels)
    around = torch.cat([sides, around, sides], 1)
    places, seen = [], []
    for r in range(0, rows, stride):
        for c in range(0, columns, stride):
            centre = x[r : r + stride, c : c + stride].mean((0, 1))
            logits = linear(centre, parameters, "attn").reshape(num_heads, taps, taps)
            exponentials = torch.exp(logits / math.sqrt(channels / num_heads))
            shares = exponentials / exponentials.sum(-1, keepdim=True)
            window = around[r : r + kernel_size, c : c + kernel_size].reshape(taps, num_heads, -1)
            seen.append(torch.einsum("hqk,khd->qhd", shares, window).flatten(1))
            places += [(r + i) * (columns + 2 * radius) + c + j for i in range(kernel_size) for j in range(kernel_size)]
    total = around.new_zeros((rows + 2 * radius) * (columns + 2 * radius), channels)
    total = total.index_add(0, torch.tensor(places), torch.cat(seen)).reshape(around.shape)
    return linear(total[radius : radius + rows, radius : radius + columns], parameters, "proj")


PLAIN = Plain(
    outlook_attention,
    cases=[Case({"num_heads": 2})],
    option_cases=[
        Case({"num_heads": 1, "stride": 1}),
        Case({"num_heads": 4, "kernel_size": 5, "stride": 3}),
    ],
    steering=("attn", slice(None)),
    refused=[
        ({"num_heads": 7}, "num_heads=7: must divide dim=64"),
        ({"num_heads": 2, "kernel_size": 1}, "kernel_size=1: must be odd and at least 3"),
        ({"num_heads": 2, "stride": 3}, "stride=3: must be 1 to 2 with kernel_size=3"),
    ],
)
