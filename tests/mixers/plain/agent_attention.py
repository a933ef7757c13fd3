"""Agent attention, pixel by pixel and agent by agent."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cases import DIM, Case, Plain
from .arithmetic import Parameters, attend, depthwise_convolution, every_pixel, linear


def agent_attention(
    parameters: Parameters, x: Tensor, *, num_heads: int, pool_size: int = 7, table_size: int = 14
) -> Tensor:
    rows, columns, _ = x.shape
    queries, keys, values = linear(x, parameters, "qkv").chunk(3, -1)

    def pooled(place: int, size: int) -> slice:
        return slice(math.floor(place * size / pool_size), math.ceil((place + 1) * size / pool_size))

    def agent_at(r: int, c: int) -> Tensor:
        return queries[pooled(r, rows), pooled(c, columns)].mean((0, 1))

    agents = by_head(every_pixel(pool_size, pool_size, agent_at), num_heads).flatten(0, 1)  # n, heads, d
    keys, pixels = (by_head(each, num_heads).flatten(0, 1) for each in (keys, values))
    agents_bias, pixels_bias = (
        position_bias(parameters, name, rows, columns) for name in ("agents_bias", "pixels_bias")
    )
    agents_bias, pixels_bias = (by_head(each, num_heads) for each in (agents_bias, pixels_bias))  # H, W, heads, n
    assert parameters["agents_bias.rows"].shape[0] == table_size
    gathered = torch.stack(
        [attend(agent, keys, pixels, agents_bias[..., n].flatten(0, 1).T) for n, agent in enumerate(agents)]
    )
    gathered = by_head(gathered, num_heads)
    queries = by_head(queries, num_heads)
    mixed = every_pixel(rows, columns, lambda r, c: attend(queries[r, c], agents, gathered, pixels_bias[r, c]))
    kernel = parameters["dwconv.weight"][:, 0].permute(1, 2, 0)
    return linear(mixed + depthwise_convolution(values, kernel) + parameters["dwconv.bias"], parameters, "proj")


def by_head(x: Tensor, num_heads: int) -> Tensor:
    return x.unflatten(-1, (num_heads, -1))


def position_bias(parameters: Parameters, name: str, rows: int, columns: int) -> Tensor:
    """H, W, heads * agents."""

    def resized(table: str, size: tuple[int, int]) -> Tensor:
        grid = parameters[f"{name}.{table}"].permute(2, 0, 1)[None]
        return F.interpolate(grid, size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)

    return resized("grid", (rows, columns)) + resized("rows", (rows, 1)) + resized("columns", (1, columns))


PLAIN = Plain(
    agent_attention,
    cases=[Case({"num_heads": 2, "pool_size": 3})],
    option_cases=[Case({"num_heads": 1, "pool_size": 4, "table_size": 5})],
    steering=("qkv", slice(0, DIM)),
    refused=[
        ({"num_heads": 3}, "num_heads=3: must divide dim=64"),
        ({"num_heads": 2, "pool_size": 0}, "pool_size=0: must be at least 1"),
        ({"num_heads": 2, "table_size": 0}, "table_size=0: must be at least 1"),
    ],
)
