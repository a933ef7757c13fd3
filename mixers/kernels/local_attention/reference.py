"""Local attention with PyTorch's own functions: for every device and dtype, and what other implementations must equal.

The map is filled up to whole blocks and rolled, so that all windows have one size; one fused attention serves them all,
and what must not be seen is hidden by logits of minus infinity.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Axis, Geometry


def fixed_logits(bias: Tensor | None, query: Tensor, geometry: Geometry) -> Tensor | None:
    """What is added to the scores whatever the query's values: 1 or blocks, 1 or heads, b*b, w*w. None: nothing.

    `bias` is what `Geometry.bias` gives, or None; of `query`, B, H, W, heads, d, shape, dtype and device matter.
    """
    rows, columns = geometry.axis(query.shape[1]), geometry.axis(query.shape[2])
    bias = None if bias is None else geometry.cut(bias, rows, columns)[None]
    if not any(axis.halo or axis.shift or axis.filled > axis.size for axis in (rows, columns)):
        return bias
    along = rows.visible(query.device)[:, None, :, None, :, None], columns.visible(query.device)[:, None, :, None, :]
    visible = (along[0] & along[1]).reshape(-1, 1, rows.block * columns.block, rows.window * columns.window)
    return torch.where(visible, 0.0 if bias is None else bias, -torch.inf).to(query.dtype)


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    logits: Tensor | None,
    row_table: Tensor | None,
    column_table: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    """B, H, W, heads, d (three times), what `fixed_logits` gives, two tables or none -> B, H, W, heads, d."""
    batch, height, width, heads, channels = query.shape
    rows, columns = geometry.axis(height), geometry.axis(width)
    q = windows(query, rows, columns, halo=False)
    k, v = (windows(x, rows, columns, halo=True) for x in (key, value))

    if logits is not None:
        logits = logits.expand(rows.blocks * columns.blocks, heads, -1, -1).flatten(0, 1)
    if row_table is not None:
        blocks = q.unflatten(2, (rows.block, columns.block))
        relative = geometry.relative_logits(blocks, row_table, column_table, rows, columns)
        logits = relative if logits is None else relative + logits
    elif logits is not None:
        logits = logits[None]
    x = F.scaled_dot_product_attention(q, k, v, attn_mask=logits)

    x = x.reshape(batch, rows.blocks, columns.blocks, heads, rows.block, columns.block, channels)
    x = x.permute(0, 1, 4, 2, 5, 3, 6)
    # A copy by name: with a single block, some attention kernels would leave a view that ONNX cannot express.
    x = x.clone(memory_format=torch.contiguous_format)
    x = x.reshape(batch, rows.filled, columns.filled, heads, channels)
    if rows.shift:
        x = x.roll((rows.shift, columns.shift), (1, 2))
    return x[:, :height, :width]


def windows(x: Tensor, rows: Axis, columns: Axis, *, halo: bool) -> Tensor:
    """B, H, W, heads, d -> B, blocks * heads, b*b (with the halo: w*w), d.

    Blocks and heads share an axis, so that what is added to the scores broadcasts over images.
    """
    batch, _, _, heads, channels = x.shape
    ring_rows, ring_columns = (rows.halo, columns.halo) if halo else (0, 0)
    if rows.filled > rows.size or columns.filled > columns.size:
        x = F.pad(x, (0, 0, 0, 0, 0, columns.filled - columns.size, 0, rows.filled - rows.size))
    if rows.shift:
        x = x.roll((-rows.shift, -columns.shift), (1, 2))
    if ring_rows or ring_columns:
        x = F.pad(x, (0, 0, 0, 0, ring_columns, ring_columns, ring_rows, ring_rows))
    side_rows, side_columns = rows.block + 2 * ring_rows, columns.block + 2 * ring_columns
    # A view: B, block rows, block columns, heads, d, rows, columns.
    x = x.unfold(1, side_rows, rows.block).unfold(2, side_columns, columns.block)
    blocks = rows.blocks * columns.blocks
    return x.permute(0, 1, 2, 3, 5, 6, 4).reshape(batch, blocks * heads, side_rows * side_columns, channels)
