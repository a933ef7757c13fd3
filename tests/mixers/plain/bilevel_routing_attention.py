"""Bi-level routing attention, region by region."""

import math

import torch
from torch import Tensor

from ..cases import DIM, Case, Plain
from .arithmetic import Parameters, linear, sum_of_neighbours


def bilevel_routing_attention(
    parameters: Parameters, x: Tensor, *, num_heads: int, regions: int = 7, topk: int | None = 4
) -> Tensor:
    rows, columns, dim = x.shape
    queries, keys, values = linear(x, parameters, "qkv").chunk(3, -1)
    heads = [each.unflatten(-1, (num_heads, -1)) for each in (queries, keys, values)]
    down, across = math.ceil(rows / regions), math.ceil(columns / regions)
    corners = [(top, left) for top in range(0, rows, down) for left in range(0, columns, across)]

    def inside(each: Tensor, corner: tuple[int, int]) -> Tensor:
        return each[corner[0] : corner[0] + down, corner[1] : corner[1] + across].flatten(0, 1)

    means = [torch.stack([inside(each, corner).mean(0) for corner in corners]) for each in (queries, keys)]
    affinity = (means[0] @ means[1].T).tolist()

    def chosen(number: int) -> list[int]:
        return sorted(range(len(corners)), key=lambda other: -affinity[number][other])[:topk]

    attended = {}
    for number, corner in enumerate(corners):
        others = [corners[other] for other in chosen(number)]
        query = inside(heads[0], corner)
        key, value = (torch.cat([inside(each, other) for other in others]) for each in heads[1:])
        shares = (torch.einsum("nhd,mhd->hnm", query, key) / math.sqrt(dim)).softmax(-1)
        mixed = torch.einsum("hnm,mhd->nhd", shares, value).flatten(1)
        attended[corner] = mixed.unflatten(0, (-1, min(across, columns - corner[1])))
    lines = [[attended[top, left] for left in range(0, columns, across)] for top in range(0, rows, down)]
    attended = torch.cat([torch.cat(line, 1) for line in lines], 0)
    kernel = parameters["lepe.weight"][:, 0].permute(1, 2, 0)
    nearby = sum_of_neighbours(values, lambda r, c: kernel) + parameters["lepe.bias"]
    return linear(attended + nearby, parameters, "proj")


PLAIN = Plain(
    bilevel_routing_attention,
    chooses=True,
    cases=[Case({"num_heads": 2, "topk": 16})],
    option_cases=[Case({"num_heads": 2, "topk": None}), Case({"num_heads": 4, "regions": 3, "topk": 2})],
    steering=("qkv", slice(0, DIM)),
    draws=40,
    refused=[
        ({"num_heads": 7}, "num_heads=7: must divide dim=64"),
        ({"num_heads": 2, "regions": 0}, "regions=0: must be at least 1"),
        ({"num_heads": 2, "topk": 50}, "topk=50: must be from 1 to 49, the regions of a map, or None"),
    ],
)
