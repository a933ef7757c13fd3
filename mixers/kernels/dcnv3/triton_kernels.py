# ruff: noqa: ANN001, ANN202, N803  (Triton's kernels have no types, and constants are upper case by its convention)
"""DCNv3 on any GPU that Triton compiles for; geometry.py has the formula, reference.py the same in PyTorch.

One row of a program's block is one output pixel and group, so that offsets, weights and outputs of a block are
contiguous; the four corners of a point are loaded as block of rows x channels of the group.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..triton_launch import device_of, prepare
from . import fixed_point
from .geometry import Geometry

__all__ = ["backward", "forward", "prepare"]

_BLOCK_ELEMENTS = 1024  # rows x channels of a program: 8 for each of its 128 threads


def forward(value: Tensor, offsets: Tensor, weights: Tensor, geometry: Geometry) -> Tensor:
    output = value.new_empty((*offsets.shape[:3], value.shape[3]))
    block, rows, numbers = _launch(value, offsets, weights, geometry)
    with device_of(value):
        _forward_kernel[(triton.cdiv(rows, block),)](output, value, offsets, weights, rows, **numbers)
    return output


def backward(
    grad: Tensor, value: Tensor, offsets: Tensor, weights: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor]:
    factor = fixed_point.factor_for(grad, weights) if torch.are_deterministic_algorithms_enabled() else None
    sums = torch.zeros(value.shape, dtype=torch.float32 if factor is None else torch.int64, device=value.device)
    grad_offsets, grad_weights = torch.empty_like(offsets), torch.empty_like(weights)
    block, rows, numbers = _launch(value, offsets, weights, geometry)
    with device_of(value):
        _backward_kernel[(triton.cdiv(rows, block),)](
            *(sums, grad_offsets, grad_weights, grad, value, offsets, weights, factor, rows), **numbers
        )
    return sums if factor is None else fixed_point.to_float(sums, factor), grad_offsets, grad_weights


def _launch(
    value: Tensor, offsets: Tensor, weights: Tensor, geometry: Geometry
) -> tuple[int, int, dict[str, int | float]]:
    """Rows of a block, rows in all, and the other arguments that both kernels share."""
    _, map_rows, map_columns, channels = value.shape
    batch, out_rows, out_columns, groups, points = weights.shape
    width = channels // groups
    padded_width = triton.next_power_of_2(width)
    block = max(1, _BLOCK_ELEMENTS // padded_width)
    rows = batch * out_rows * out_columns * groups
    largest_index = max(value.numel(), (rows + block) * max(2 * points, width))
    numbers = {
        "map_rows": map_rows,
        "map_columns": map_columns,
        "out_rows": out_rows,
        "out_columns": out_columns,
        "groups": groups,
        "width": width,
        "stride": geometry.stride,
        "start": geometry.centre - geometry.padding,
        "scale": geometry.offset_scale,
        "KERNEL_SIZE": geometry.kernel_size,
        "DILATION": geometry.dilation,
        "CENTRE": geometry.centre,
        "REMOVE_CENTRE": int(geometry.remove_centre),
        "POINTS": points,
        "BLOCK": block,
        "WIDTH": padded_width,
        "INDEX": tl.int64 if largest_index >= 2**31 else tl.int32,
        "enable_fp_fusion": True,
    }
    return block, rows, numbers


@triton.jit
def _rows_of_program(rows, groups, out_rows, out_columns, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    """Rows of a block: which, whether they exist, and image, group, row and column of each."""
    row = tl.program_id(0).to(INDEX) * BLOCK + tl.arange(0, BLOCK)
    pixel = row // groups
    line = pixel // out_columns
    return row, row < rows, line // out_rows, row % groups, line % out_rows, pixel % out_columns


@triton.jit
def _point(
    offsets,
    weights,
    row,
    exists,
    out_row,
    out_column,
    map_rows,
    map_columns,
    stride,
    start,
    scale,
    p,
    KERNEL_SIZE: tl.constexpr,
    DILATION: tl.constexpr,
    CENTRE: tl.constexpr,
    REMOVE_CENTRE: tl.constexpr,
    POINTS: tl.constexpr,
):
    """Point p of each row: whether it meets the map, its weight, its north-west pixel, and its distances from that."""
    place = tl.where(p < KERNEL_SIZE * KERNEL_SIZE // 2, p, p + REMOVE_CENTRE)
    step_x = place // KERNEL_SIZE * DILATION - CENTRE
    step_y = place % KERNEL_SIZE * DILATION - CENTRE
    index = row * POINTS + p
    offset_x = tl.load(offsets + 2 * index, mask=exists, other=0.0).to(tl.float32)
    offset_y = tl.load(offsets + 2 * index + 1, mask=exists, other=0.0).to(tl.float32)
    weight = tl.load(weights + index, mask=exists, other=0.0).to(tl.float32)
    x = (out_column * stride + start).to(tl.float32) + (step_x + offset_x) * scale
    y = (out_row * stride + start).to(tl.float32) + (step_y + offset_y) * scale
    meets = exists & (x > -1) & (x < map_columns) & (y > -1) & (y < map_rows)  # false if not a number
    x = tl.where(meets, x, 0.0)
    y = tl.where(meets, y, 0.0)
    left = tl.floor(x)
    top = tl.floor(y)
    return meets, weight, top.to(tl.int32), left.to(tl.int32), y - top, x - left


@triton.jit
def _forward_kernel(
    output,
    value,
    offsets,
    weights,
    rows,
    map_rows,
    map_columns,
    out_rows,
    out_columns,
    groups,
    width,
    stride,
    start,
    scale,
    KERNEL_SIZE: tl.constexpr,
    DILATION: tl.constexpr,
    CENTRE: tl.constexpr,
    REMOVE_CENTRE: tl.constexpr,
    POINTS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    INDEX: tl.constexpr,
):
    row, exists, image, group, out_row, out_column = _rows_of_program(rows, groups, out_rows, out_columns, BLOCK, INDEX)
    channel = tl.arange(0, WIDTH)[None, :]
    of_group = channel < width
    total = tl.zeros((BLOCK, WIDTH), tl.float32)
    for p in range(POINTS):
        meets, weight, top, left, near_y, near_x = _point(
            *(offsets, weights, row, exists, out_row, out_column, map_rows, map_columns, stride, start, scale, p),
            *(KERNEL_SIZE, DILATION, CENTRE, REMOVE_CENTRE, POINTS),
        )
        for corner in tl.static_range(4):
            y = top + corner // 2
            x = left + corner % 2
            share = weight * (near_y if corner // 2 else 1 - near_y) * (near_x if corner % 2 else 1 - near_x)
            inside = meets & (y >= 0) & (y < map_rows) & (x >= 0) & (x < map_columns)
            pixel = ((image * map_rows + y) * map_columns + x) * groups + group
            sample = tl.load(value + pixel[:, None] * width + channel, mask=inside[:, None] & of_group, other=0.0)
            total += share[:, None] * sample.to(tl.float32)
    tl.store(
        output + row[:, None] * width + channel, total.to(output.dtype.element_ty), mask=exists[:, None] & of_group
    )


@triton.jit
def _backward_kernel(
    sums,
    grad_offsets,
    grad_weights,
    grad,
    value,
    offsets,
    weights,
    factor,
    rows,
    map_rows,
    map_columns,
    out_rows,
    out_columns,
    groups,
    width,
    stride,
    start,
    scale,
    KERNEL_SIZE: tl.constexpr,
    DILATION: tl.constexpr,
    CENTRE: tl.constexpr,
    REMOVE_CENTRE: tl.constexpr,
    POINTS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    INDEX: tl.constexpr,
):
    row, exists, image, group, out_row, out_column = _rows_of_program(rows, groups, out_rows, out_columns, BLOCK, INDEX)
    channel = tl.arange(0, WIDTH)[None, :]
    of_group = channel < width
    grad_out = tl.load(grad + row[:, None] * width + channel, mask=exists[:, None] & of_group, other=0.0).to(tl.float32)
    for p in range(POINTS):
        meets, weight, top, left, near_y, near_x = _point(
            *(offsets, weights, row, exists, out_row, out_column, map_rows, map_columns, stride, start, scale, p),
            *(KERNEL_SIZE, DILATION, CENTRE, REMOVE_CENTRE, POINTS),
        )
        along_x = tl.zeros((BLOCK,), tl.float32)
        along_y = tl.zeros((BLOCK,), tl.float32)
        sampled = tl.zeros((BLOCK,), tl.float32)
        for corner in tl.static_range(4):
            y = top + corner // 2
            x = left + corner % 2
            share_y = near_y if corner // 2 else 1 - near_y
            share_x = near_x if corner % 2 else 1 - near_x
            inside = meets & (y >= 0) & (y < map_rows) & (x >= 0) & (x < map_columns)
            pixel = ((image * map_rows + y) * map_columns + x) * groups + group
            at = pixel[:, None] * width + channel
            mask = inside[:, None] & of_group
            sample = tl.load(value + at, mask=mask, other=0.0).to(tl.float32)
            likeness = tl.sum(sample * grad_out, axis=1)
            sampled += share_y * share_x * likeness
            along_x += (share_y if corner % 2 else -share_y) * likeness
            along_y += (share_x if corner // 2 else -share_x) * likeness
            contribution = (weight * share_y * share_x)[:, None] * grad_out
            if factor is not None:
                contribution = (contribution * tl.load(factor)).to(tl.int64)
            tl.atomic_add(sums + at, contribution, mask=mask, sem="relaxed")
        index = row * POINTS + p
        dtype = grad_weights.dtype.element_ty
        tl.store(grad_weights + index, sampled.to(dtype), mask=exists)
        tl.store(grad_offsets + 2 * index, (along_x * weight * scale).to(dtype), mask=exists)
        tl.store(grad_offsets + 2 * index + 1, (along_y * weight * scale).to(dtype), mask=exists)
