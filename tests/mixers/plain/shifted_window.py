"""Shifted window, pixel by pixel."""

from typing import Any

from torch import Tensor

from ..cases import DIM, Case, Plain
from .arithmetic import Parameters, attend, every_pixel, linear, zero_extended


def shifted_window(
    parameters: Parameters,
    x: Tensor,
    *,
    num_heads: int,
    window_size: int = 7,
    shift_size: int = 0,
    mask_padding: bool = True,
) -> Tensor:
    """The grid of windows is moved by the shift; windows cut by the map's border are smaller."""
    rows, columns, _ = x.shape
    qkv = linear(x if mask_padding else zero_extended(x, window_size), parameters, "qkv")
    queries, keys, values = qkv.unflatten(-1, (3, num_heads, -1)).unbind(2)
    table = parameters["relative_position_bias_table"]

    def window_of(place: int, size: int) -> list[int]:
        start = (place - shift_size) // window_size * window_size + shift_size
        return [other for other in range(start, start + window_size) if 0 <= other < size]

    def output_at(r: int, c: int) -> Tensor:
        key_rows, key_columns = window_of(r, qkv.shape[0]), window_of(c, qkv.shape[1])
        index = [
            (r - row + window_size - 1) * (2 * window_size - 1) + c - column + window_size - 1
            for row in key_rows
            for column in key_columns
        ]
        seen_keys = keys[key_rows][:, key_columns].flatten(0, 1)
        seen_values = values[key_rows][:, key_columns].flatten(0, 1)
        return attend(queries[r, c], seen_keys, seen_values, table[index].T)

    return linear(every_pixel(rows, columns, output_at), parameters, "proj")


def built_for(resolution: tuple[int, int], options: dict[str, Any]) -> dict[str, Any]:
    """The options as the plain one takes them: what `resolution` does to the window is decided here."""
    options = dict(options)
    if options.pop("shrink_window", True) and min(resolution) <= options.get("window_size", 7):
        options |= {"window_size": min(resolution), "shift_size": 0}
    return options


PLAIN = Plain(
    shifted_window,
    cases=[Case({"num_heads": 2, "shift_size": 3})],
    option_cases=[
        Case({"num_heads": 2}),
        Case({"num_heads": 2, "shift_size": 3, "mask_padding": False}),
        Case({"num_heads": 2, "shift_size": 3}, resolution=(6, 9)),
        Case({"num_heads": 2, "shift_size": 3, "shrink_window": False}, resolution=(6, 9)),
        Case({"num_heads": 4, "window_size": 4, "shift_size": 2}),
    ],
    steering=("qkv", slice(0, DIM)),
    refused=[
        ({"num_heads": 7}, "num_heads=7: must divide dim=64"),
        ({"num_heads": 2, "window_size": 0}, "window_size=0: must be at least 1"),
        ({"num_heads": 2, "shift_size": 7}, "shift_size=7.*less than window_size=7"),
        ({"num_heads": 2, "shift_size": -1}, "shift_size=-1"),
    ],
    built_for=built_for,
)
