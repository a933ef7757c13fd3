"""Manhattan attention, line by line."""

import math

import torch
from torch import Tensor

from ..cases import DIM, Case, Plain
from .arithmetic import Parameters, linear, sum_of_neighbours


def manhattan_attention(
    parameters: Parameters,
    x: Tensor,
    *,
    num_heads: int,
    decomposed: bool = True,
    decay_start: float = 2.0,
    decay_range: float = 4.0,
) -> Tensor:
    rows, columns, dim = x.shape
    queries, keys, values = linear(x, parameters, "qkv").unflatten(-1, (3, num_heads, -1)).unbind(2)
    exponents = [decay_start + decay_range * head / num_heads for head in range(num_heads)]
    decay = x.new_tensor([math.log(1 - 2**-exponent) for exponent in exponents])
    down, across = ((torch.arange(size)[:, None] - torch.arange(size)).abs() for size in (rows, columns))
    distance = down[:, None, :, None] + across[:, None, :]

    pairs = dim // num_heads // 2
    speeds = x.new_tensor([10000 ** (-pair / max(pairs - 1, 1)) for pair in range(pairs)])
    angles = (torch.arange(rows * columns)[:, None] * speeds).reshape(rows, columns, 1, pairs)

    def rotate(heads: Tensor) -> Tensor:
        """A pair of channels is a complex number, multiplied by one of length 1."""
        numbers = torch.view_as_complex(heads.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(numbers * torch.polar(torch.ones_like(angles), angles)).flatten(-2)

    queries, keys = rotate(queries), rotate(keys)

    def among(query: Tensor, key: Tensor, value: Tensor, distance: Tensor) -> Tensor:
        """Pixels n, heads, d among themselves."""
        logits = torch.einsum("nhd,mhd->hnm", query, key) / math.sqrt(query.shape[-1])
        shares = (logits + decay[:, None, None] * distance).softmax(-1)
        return torch.einsum("hnm,mhd->nhd", shares, value)

    if decomposed:
        of_rows = torch.stack([among(queries[r], keys[r], values[r], distance[r, :, r]) for r in range(rows)])
        both = [among(queries[:, c], keys[:, c], of_rows[:, c], distance[:, c, :, c]) for c in range(columns)]
        mixed = torch.stack(both, 1).flatten(-2)
    else:
        pixels = [each.flatten(0, 1) for each in (queries, keys, values)]
        mixed = among(*pixels, distance.flatten(2).flatten(0, 1)).reshape(rows, columns, dim)
    kernel = parameters["lepe.weight"][:, 0].permute(1, 2, 0)
    nearby = sum_of_neighbours(values.flatten(2), lambda r, c: kernel) + parameters["lepe.bias"]
    return linear(mixed + nearby, parameters, "proj")


PLAIN = Plain(
    manhattan_attention,
    cases=[Case({"num_heads": 2})],
    option_cases=[
        Case({"num_heads": 2, "decomposed": False, "decay_range": 6.0}),
        Case({"num_heads": 4, "decay_start": 1.0}),
    ],
    steering=("qkv", slice(0, DIM)),
    refused=[
        ({"num_heads": 7}, "num_heads=7: must divide dim=64 into heads of an even number"),
        ({"num_heads": 64}, "num_heads=64: must divide dim=64 into heads of an even number"),
        ({"num_heads": 2, "decay_start": 0.0}, "decay_start=0.0: must be above 0"),
        ({"num_heads": 2, "decay_range": -1.0}, "decay_range=-1.0: must be at least 0"),
    ],
)
