"""Pooling, pixel by pixel."""

from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, every_pixel


def pooling(parameters: Parameters, x: Tensor, *, pool_size: int = 3) -> Tensor:
    radius = pool_size // 2

    def output_at(r: int, c: int) -> Tensor:
        near = x[max(r - radius, 0) : r + radius + 1, max(c - radius, 0) : c + radius + 1]
        return near.mean((0, 1)) - x[r, c]

    return every_pixel(*x.shape[:2], output_at)


PLAIN = Plain(
    pooling,
    cases=[Case()],
    option_cases=[Case({"pool_size": 5})],
    refused=[({"pool_size": 2}, "pool_size=2: must be odd")],
)
