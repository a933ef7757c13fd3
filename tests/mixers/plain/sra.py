"""Sra, pixel by pixel."""

import torch
from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, attend, every_pixel, layer_norm, linear


def sra(parameters: Parameters, x: Tensor, *, num_heads: int, sr_ratio: int = 1) -> Tensor:
    rows, columns, _ = x.shape
    reduced = x
    if sr_ratio > 1:
        padded = x
        if rows < sr_ratio:
            padded = torch.cat([padded, padded.new_zeros(sr_ratio - rows, *padded.shape[1:])], 0)
        if columns < sr_ratio:
            padded = torch.cat([padded, padded.new_zeros(padded.shape[0], sr_ratio - columns, padded.shape[2])], 1)

        def patch_at(r: int, c: int) -> Tensor:
            patch = padded[r * sr_ratio : (r + 1) * sr_ratio, c * sr_ratio : (c + 1) * sr_ratio]
            return torch.einsum("oiab,abi->o", parameters["sr.weight"], patch) + parameters["sr.bias"]

        reduced = every_pixel(padded.shape[0] // sr_ratio, padded.shape[1] // sr_ratio, patch_at)
        reduced = layer_norm(reduced, parameters, "norm")
    queries = linear(x, parameters, "q").unflatten(-1, (num_heads, -1))
    keys, values = linear(reduced.flatten(0, 1), parameters, "kv").unflatten(-1, (2, num_heads, -1)).unbind(1)
    mixed = every_pixel(rows, columns, lambda r, c: attend(queries[r, c], keys, values))
    return linear(mixed, parameters, "proj")


PLAIN = Plain(
    sra,
    cases=[Case({"num_heads": 2, "sr_ratio": 4})],
    option_cases=[Case({"num_heads": 2, "sr_ratio": 1}), Case({"num_heads": 1, "sr_ratio": 8})],
    steering=("q", slice(None)),
    refused=[
        ({"num_heads": 5}, "num_heads=5: must divide dim=64"),
        ({"num_heads": 2, "sr_ratio": 0}, "sr_ratio=0: must be at least 1"),
    ],
)
