"""DCNv3 in plain PyTorch: every other implementation must give these numbers and these gradients.

The value map of a batch is a table with one row per pixel and group, and one more row of zeros for everything outside
of the map, so that bilinear interpolation is four look-ups per sampling point.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Geometry, arithmetic


def forward(value: Tensor, offsets: Tensor, weights: Tensor, geometry: Geometry) -> Tensor:
    """B, H, W, C; B, H', W', G, K, 2; B, H', W', G, K -> B, H', W', C. Differentiable, any number of times."""
    precise = arithmetic(value.dtype)
    table = _table(value, weights.shape[3])
    weights = weights.to(precise)
    total = torch.zeros((), dtype=precise, device=value.device)
    for corner in _corners(value, offsets, geometry):
        shares = (weights * corner.share_x * corner.share_y).unsqueeze(-1)  # B, H', W', G, K, 1
        total = total + (shares * corner.look_up(table)).sum(-2)
    return total.flatten(-2).to(value.dtype)


def backward(
    grad: Tensor, value: Tensor, offsets: Tensor, weights: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, offsets and weights from the one of the output. Not differentiable itself: see `forward`."""
    precise = arithmetic(value.dtype)
    groups, width = weights.shape[3], value.shape[3] // weights.shape[3]
    grad = grad.to(precise).unflatten(-1, (groups, width)).unsqueeze(-2)  # B, H', W', G, 1, D
    table = _table(value, groups)
    grad_table = torch.zeros_like(table)
    grad_offsets = torch.zeros(offsets.shape, dtype=precise, device=value.device)
    grad_weights = torch.zeros(weights.shape, dtype=precise, device=value.device)
    precise_weights = weights.to(precise)
    for corner in _corners(value, offsets, geometry):
        share = corner.share_x * corner.share_y
        grad_table.index_add_(0, corner.row.flatten(), ((precise_weights * share).unsqueeze(-1) * grad).flatten(0, -2))
        likeness = (corner.look_up(table) * grad).sum(-1)
        grad_weights += share * likeness
        slope = geometry.offset_scale * precise_weights * likeness
        grad_offsets += torch.stack(
            (corner.sign_x * corner.share_y * slope, corner.sign_y * corner.share_x * slope), dim=-1
        )
    return (
        grad_table[:-1].reshape(value.shape).to(value.dtype),
        grad_offsets.to(offsets.dtype),
        grad_weights.to(weights.dtype),
    )


@dataclass(frozen=True)
class _Corner:
    """One of the four pixels around each sampling point; tensors are B, H', W', G, K."""

    row: Tensor  # of the table
    share_x: Tensor  # of the pixel's column in the sample, 0 to 1
    share_y: Tensor
    sign_x: int  # of the derivative of share_x with respect to the point's column
    sign_y: int

    def look_up(self, table: Tensor) -> Tensor:
        """B, H', W', G, K, D."""
        return table.index_select(0, self.row.flatten()).unflatten(0, self.row.shape)


def _corners(value: Tensor, offsets: Tensor, geometry: Geometry) -> Iterator[_Corner]:
    precise, device = arithmetic(value.dtype), value.device
    batch, rows, columns, _ = value.shape
    _, out_rows, out_columns, groups, _, _ = offsets.shape
    start = geometry.centre - geometry.padding
    first_row = torch.arange(out_rows, dtype=precise, device=device) * geometry.stride + start
    first_column = torch.arange(out_columns, dtype=precise, device=device) * geometry.stride + start
    centres = torch.stack(torch.meshgrid(first_column, first_row, indexing="xy"), -1)  # H', W', (x, y)
    steps = geometry.steps(precise, device)
    positions = centres[:, :, None, None] + (steps + offsets.to(precise)) * geometry.offset_scale

    # A point that meets no pixel, or is not a number, goes where it stays outside and has an integer position.
    size = torch.tensor((columns, rows), device=device)
    meets = ((positions > -1) & (positions < size)).all(-1, keepdim=True)
    x, y = positions.where(meets, -2).unbind(-1)
    left, top = x.detach().floor(), y.detach().floor()
    near_x, near_y = x - left, y - top
    image = torch.arange(batch, device=device).view(batch, 1, 1, 1, 1)
    group = torch.arange(groups, device=device).view(groups, 1)
    for right in (0, 1):
        for below in (0, 1):
            column, row = left.long() + right, top.long() + below
            inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
            place = ((image * rows + row) * columns + column) * groups + group
            yield _Corner(
                row=place.where(inside, batch * rows * columns * groups),
                share_x=near_x if right else 1 - near_x,
                share_y=near_y if below else 1 - near_y,
                sign_x=1 if right else -1,
                sign_y=1 if below else -1,
            )


def _table(value: Tensor, groups: int) -> Tensor:
    """B * H * W * G + 1, D: group by group, pixel by pixel; the last row is zero."""
    batch, rows, columns, channels = value.shape
    table = value.to(arithmetic(value.dtype)).reshape(batch * rows * columns * groups, channels // groups)
    return F.pad(table, (0, 0, 0, 1))
