"""Learned tables for maps of another size than their own, interpolated in every forward pass."""

import torch
from torch import Tensor


def interpolated(table: Tensor, rows: int, columns: int) -> Tensor:
    """h, w, C -> rows, columns, C: bilinear between the centres of pixels, beyond the outermost ones constant.

    `F.interpolate` without aligned corners, as a product with a matrix along each axis whose size is another: all
    counters see it. A table of the wanted size is returned as it is.
    """
    height, width = table.shape[:2]
    if rows != height:
        table = (_weights(rows, height, table) @ table.flatten(1)).unflatten(1, (width, -1))
    if columns != width:
        table = _weights(columns, width, table) @ table
    return table


def interpolation_macs(size: tuple[int, int], resolution: tuple[int, int], channels: int) -> int:
    """Multiply-accumulates of `interpolated`, from a table of `size`."""
    (height, width), (rows, columns) = size, resolution
    along_columns = rows * height * width if rows != height else 0
    along_rows = rows * columns * width if columns != width else 0
    return channels * (along_columns + along_rows)


def _weights(places: int, size: int, like: Tensor) -> Tensor:
    """places, size: the share of each of the table's pixels in each place's value."""
    centres = (torch.arange(places, device=like.device, dtype=like.dtype) + 0.5) * (size / places) - 0.5
    distances = centres.clamp(0, size - 1)[:, None] - torch.arange(size, device=like.device, dtype=like.dtype)
    return (1 - distances.abs()).clamp(min=0)
