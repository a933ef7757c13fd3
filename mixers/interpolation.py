"""Learned tables for maps of another size than their own, interpolated in every forward pass."""

import torch
from torch import Tensor


def interpolated(table: Tensor, rows: int, columns: int) -> Tensor:
    """h, w, C -> rows, columns, C: bilinear between the centres of pixels, beyond the outermost ones constant.

    `F.interpolate` without aligned corners, as two products with matrices, which all counters see; see
    `interpolation_macs`. A table of the wanted size is returned as it is.
    """
    if (rows, columns) == table.shape[:2]:
        return table
    table = torch.einsum("rh,hwc->rwc", _weights(rows, table.shape[0], table), table)
    return torch.einsum("kw,rwc->rkc", _weights(columns, table.shape[1], table), table)


def interpolation_macs(size: tuple[int, int], resolution: tuple[int, int], channels: int) -> int:
    """Multiply-accumulates of `interpolated`, from a table of `size`."""
    if size == resolution:
        return 0
    (height, width), (rows, columns) = size, resolution
    return channels * rows * width * (height + columns)


def _weights(places: int, size: int, like: Tensor) -> Tensor:
    """places, size: the share of each of the table's pixels in each place's value."""
    centres = (torch.arange(places, device=like.device, dtype=like.dtype) + 0.5) * (size / places) - 0.5
    distances = centres.clamp(0, size - 1)[:, None] - torch.arange(size, device=like.device, dtype=like.dtype)
    return (1 - distances.abs()).clamp(min=0)
