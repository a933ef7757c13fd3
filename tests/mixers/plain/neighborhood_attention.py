"""Neighborhood attention, pixel by pixel."""

from torch import Tensor

from ..cases import DIM, Case, Plain
from .arithmetic import Parameters, attend, every_pixel, linear


def neighborhood_attention(
    parameters: Parameters, x: Tensor, *, num_heads: int, kernel_size: int = 7, dilation: int = 1, dilated: bool = True
) -> Tensor:
    queries, keys, values = linear(x, parameters, "qkv").unflatten(-1, (3, num_heads, -1)).unbind(2)
    step = dilation if dilated else 1

    def nearest(place: int, size: int) -> list[int]:
        """The kernel_size places nearest to `place` on its lattice; at the border more of them are on one side."""
        lattice = [other for other in range(size) if other % step == place % step]
        start = lattice.index(place) - kernel_size // 2
        while start > 0 and start + kernel_size > len(lattice):
            start -= 1
        return lattice[max(start, 0) :][:kernel_size]

    def output_at(r: int, c: int) -> Tensor:
        key_rows, key_columns = nearest(r, x.shape[0]), nearest(c, x.shape[1])
        down = [kernel_size - 1 + (row - r) // step for row in key_rows]
        across = [kernel_size - 1 + (column - c) // step for column in key_columns]
        seen_keys = keys[key_rows][:, key_columns].flatten(0, 1)
        seen_values = values[key_rows][:, key_columns].flatten(0, 1)
        return attend(queries[r, c], seen_keys, seen_values, parameters["rpb"][:, down][:, :, across].flatten(1))

    return linear(every_pixel(*x.shape[:2], output_at), parameters, "proj")


PLAIN = Plain(
    neighborhood_attention,
    cases=[Case({"num_heads": 2, "kernel_size": 7, "dilated": False})],
    option_cases=[Case({"num_heads": 2, "dilation": 2}), Case({"num_heads": 4, "kernel_size": 3, "dilation": 3})],
    steering=("qkv", slice(0, DIM)),
    refused=[
        ({"num_heads": 7}, "num_heads=7: must divide dim=64"),
        ({"num_heads": 2, "kernel_size": 6}, "kernel_size=6: must be odd"),
        ({"num_heads": 2, "dilation": 0}, "dilation=0: must be at least 1"),
    ],
)
