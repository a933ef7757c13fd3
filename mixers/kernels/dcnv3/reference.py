"""DCNv3 in plain PyTorch: every other implementation must give these numbers and these gradients.

Source: Wang et al., InternImage, arXiv:2211.05778, eq. 2; official code OpenGVLab/InternImage (operation dcnv3).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def dcnv3(
    value: Tensor,
    offsets: Tensor,
    weights: Tensor,
    *,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    offset_scale: float = 1.0,
) -> Tensor:
    """Sums bilinear samples of `value` at moved kernel points; outside the map, values are zero.

    The points of a kernel are numbered column by column (x is the slow index). Point p of output pixel (r, c) lies at
    row r * stride - padding + centre + (p % k * dilation - centre + y) * offset_scale, with (x, y) its offset and
    centre = (k - 1) * dilation / 2, and at the column made likewise from c, p // k and x.

    Args:
        value: B, H, W, C. Groups are consecutive blocks of C / G channels.
        offsets: B, H', W', G, K, 2; K = kernel_size^2 points, each (x, y) in pixels.
        weights: B, H', W', G, K; used as they are.
        kernel_size: points along a side, k.
        stride: pixels between the kernels of neighbouring outputs.
        padding: pixels by which the first kernel starts outside the map.
        dilation: pixels between neighbouring points before scaling.
        offset_scale: factor on the distance of points from their kernel's centre, offsets included.

    Returns:
        B, H', W', C in the dtype of `value`. Computed in float32, or float64 if an argument is.

    Raises:
        ValueError: the shapes do not fit together.
    """
    batch, rows, columns, channels = value.shape
    out_rows, out_columns, groups, points = _checked_shape(
        value, offsets, weights, kernel_size, stride, padding, dilation
    )
    width = channels // groups
    precise = torch.promote_types(torch.promote_types(value.dtype, offsets.dtype), torch.float32)
    places = {"dtype": precise, "device": value.device}

    centre = (kernel_size - 1) * dilation / 2
    steps = (torch.arange(kernel_size, **places) * dilation - centre) * offset_scale
    steps = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(points, 2)  # x, y; x is slow
    start = centre - padding
    first_row = torch.arange(out_rows, **places) * stride + start
    first_column = torch.arange(out_columns, **places) * stride + start
    centres = torch.stack(torch.meshgrid(first_column, first_row, indexing="xy"), -1)  # H', W', (x, y)
    positions = centres[:, :, None, None] + steps + offsets.to(precise) * offset_scale

    # grid_sample maps -1 and 1 to the outer edges of the map, half a pixel outside of the first and last centres.
    grid = (2 * positions + 1) / torch.tensor([columns, rows], **places) - 1
    grid = grid.permute(0, 3, 1, 2, 4, 5).reshape(batch * groups, out_rows * out_columns, points, 2)
    maps = value.to(precise).unflatten(-1, (groups, width)).permute(0, 3, 4, 1, 2)
    maps = maps.reshape(batch * groups, width, rows, columns)
    samples = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    shares = weights.to(precise).permute(0, 3, 1, 2, 4).reshape(batch * groups, 1, out_rows * out_columns, points)
    total = (samples * shares).sum(-1).reshape(batch, groups, width, out_rows, out_columns)
    return total.permute(0, 3, 4, 1, 2).flatten(-2).to(value.dtype)


def _checked_shape(
    value: Tensor, offsets: Tensor, weights: Tensor, kernel_size: int, stride: int, padding: int, dilation: int
) -> tuple[int, int, int, int]:
    """H', W', G, K of arguments that fit together."""
    batch, rows, columns, channels = value.shape
    reach = dilation * (kernel_size - 1) + 1
    out_rows, out_columns = ((size + 2 * padding - reach) // stride + 1 for size in (rows, columns))
    groups = weights.shape[-2]
    points = kernel_size**2
    wanted = (batch, out_rows, out_columns, groups, points)
    if weights.shape != wanted or offsets.shape != (*wanted, 2) or channels % groups:
        raise ValueError(
            f"dcnv3: value {tuple(value.shape)} with kernel_size={kernel_size}, stride={stride}, padding={padding}, "
            f"dilation={dilation} and {groups} groups wants weights {wanted}, offsets {(*wanted, 2)} and channels that "
            f"the groups divide; got weights {tuple(weights.shape)}, offsets {tuple(offsets.shape)}"
        )
    return out_rows, out_columns, groups, points
