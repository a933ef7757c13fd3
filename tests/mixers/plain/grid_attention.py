"""Grid attention, pixel by pixel."""

import math

from torch import Tensor

from ..cases import DIM, Case, Plain
from .arithmetic import Parameters, attend, every_pixel, linear


def grid_attention(
    parameters: Parameters, x: Tensor, *, num_heads: int, grid_size: int = 7, partition: str = "grid"
) -> Tensor:
    """Relative places are counted in pixels of a window, and in strides of a lattice."""
    queries, keys, values = linear(x, parameters, "qkv").unflatten(-1, (3, num_heads, -1)).unbind(2)
    table = parameters["relative_position_bias_table"]

    def companions(place: int, size: int) -> tuple[list[int], int]:
        """The places that attend to each other along an axis, and the distance between neighbours."""
        if partition == "window":
            return [other for other in range(size) if other // grid_size == place // grid_size], 1
        stride = math.ceil(size / grid_size)
        return [other for other in range(size) if (other - place) % stride == 0], stride

    def output_at(r: int, c: int) -> Tensor:
        key_rows, down = companions(r, x.shape[0])
        key_columns, across = companions(c, x.shape[1])
        index = [
            ((r - row) // down + grid_size - 1) * (2 * grid_size - 1) + (c - column) // across + grid_size - 1
            for row in key_rows
            for column in key_columns
        ]
        seen_keys = keys[key_rows][:, key_columns].flatten(0, 1)
        seen_values = values[key_rows][:, key_columns].flatten(0, 1)
        return attend(queries[r, c], seen_keys, seen_values, table[index].T)

    return linear(every_pixel(*x.shape[:2], output_at), parameters, "proj")


PLAIN = Plain(
    grid_attention,
    cases=[Case({"num_heads": 2})],
    option_cases=[Case({"num_heads": 2, "partition": "window"}), Case({"num_heads": 4, "grid_size": 3})],
    steering=("qkv", slice(0, DIM)),
    refused=[
        ({"num_heads": 7}, "num_heads=7: must divide dim=64"),
        ({"num_heads": 2, "grid_size": 0}, "grid_size=0: must be at least 1"),
        ({"num_heads": 2, "partition": "block"}, "partition='block': must be one of window, grid"),
    ],
)
