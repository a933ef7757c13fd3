"""Halo attention: queries of a block attend to the block and a ring of pixels around it.

Source: Vaswani et al., "Scaling Local Self-Attention for Parameter Efficient Visual Backbones" (HaloNet),
arXiv:2103.12731, as Dai et al., arXiv:2211.05781, use it (official code OpenGVLab/STM-Evaluation).
Differences: sizes that are no multiple of the block are padded, masked and cropped (the authors' classification code
refuses them; `mask_padding=False` is their detection code); keys and values come from a linear layer, not a 1x1
convolution; all windows are attended to at once; along an axis with a single block, the block is as long as the axis
and has no halo, since all of it would be hidden.
Cost: H W (4 C^2 + 2 w^2 C + 2 w C) with window side w = block_size + 2 halo_size; the last term is the query-related
relative embedding. Attention terms count the padded H and W. The authors multiply each query by all 2 w - 1 rows of
both tables, of which w are used.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .kernels.linear import Linear
from .registry import register


@register("halo")
class HaloAttention(Mixer):
    """Multi-head attention from blocks to blocks with a halo. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads; they share the query-related embedding. Divides dim.
        block_size: side of the square block of queries, in pixels.
        halo_size: width of the ring of further keys around each block, in pixels.
        relative_embedding: "query_related" (products of the query with a row and a column table, of the unscaled
            query) or "query_free" (a learned bias per head and relative position).
        mask_padding: whether the pixels that fill the map up to whole blocks are hidden from the queries. False treats
            them as ordinary pixels with key and value 0. What lies outside the filled map is hidden in either case.
    """

    per_stage: ClassVar = {"num_heads": lambda dim: largest_divisor(dim, at_most=dim // 32)}

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        block_size: int = 7,
        halo_size: int = 3,
        relative_embedding: str = "query_related",
        mask_padding: bool = True,
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(block_size >= 1, "block_size", block_size, "must be at least 1")
        require(halo_size >= 0, "halo_size", halo_size, "must be at least 0")
        choices = ("query_related", "query_free")
        require(relative_embedding in choices, "relative_embedding", relative_embedding, f"must be one of {choices}")
        self.num_heads = num_heads
        self.block_size = block_size
        self.halo_size = halo_size
        self.window_size = block_size + 2 * halo_size
        self.mask_padding = mask_padding
        self.q = Linear(dim, dim, bias=False)
        self.kv = Linear(dim, 2 * dim, bias=False)
        self.pos_embed = (
            QueryRelatedEmbedding(self.window_size, dim // num_heads)
            if relative_embedding == "query_related"
            else QueryFreeEmbedding(self.window_size, halo_size, num_heads)
        )
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        rows, columns, heads = self._axis(height), self._axis(width), self.num_heads
        blocks = rows.blocks * columns.blocks

        q = self.q(x)
        if rows.padding or columns.padding:
            q = F.pad(q, (0, 0, 0, columns.padding, 0, rows.padding))
        q = q.reshape(batch, rows.blocks, rows.block, columns.blocks, columns.block, heads, dim // heads)
        q = q.permute(0, 1, 3, 5, 2, 4, 6).flatten(1, 2)  # B, blocks, heads, b, b, d

        kv = self.kv(x)
        if rows.reach or columns.reach:
            kv = F.pad(kv, (0, 0, columns.halo, columns.reach, rows.halo, rows.reach))
        # a view: B, block rows, block columns, 2C, w, w
        kv = kv.unfold(1, rows.window, rows.block).unfold(2, columns.window, columns.block)
        kv = kv.unflatten(3, (heads, 2, dim // heads)).permute(4, 0, 1, 2, 3, 6, 7, 5)  # head-major, key before value
        k, v = kv.reshape(2, batch, blocks * heads, rows.window * columns.window, dim // heads)

        bias = self.pos_embed(q, rows, columns)
        visible = self._visible(rows, columns, x.device)
        bias = bias if visible is None else torch.where(visible, bias, -torch.inf)
        x = F.scaled_dot_product_attention(q.flatten(1, 2).flatten(2, 3), k, v, attn_mask=bias.flatten(1, 2))

        x = x.reshape(batch, rows.blocks, columns.blocks, heads, rows.block, columns.block, dim // heads)
        x = x.permute(0, 1, 4, 2, 5, 3, 6)
        # A copy by name: with a single block, some attention kernels would leave a view that ONNX cannot express.
        x = x.clone(memory_format=torch.contiguous_format)
        x = x.reshape(batch, height + rows.padding, width + columns.padding, dim)
        return self.proj(x[:, :height, :width])

    def _axis(self, size: int) -> "Axis":
        if self.mask_padding and size <= self.block_size:
            return Axis(size, 1, size, 0, self.halo_size)
        return Axis(size, -(-size // self.block_size), self.block_size, self.halo_size, 0)

    def _visible(self, rows: "Axis", columns: "Axis", device: torch.device) -> Tensor | None:
        """bool blocks, 1, 1, w*w: whether each key of each block's window lies on the map. None: all of them do."""
        if not (rows.halo or rows.padding or columns.halo or columns.padding):
            return None
        on_map = []
        for axis in (rows, columns):
            starts = torch.arange(axis.blocks, device=device) * axis.block - axis.halo
            places = starts[:, None] + torch.arange(axis.window, device=device)
            limit = axis.size if self.mask_padding else axis.size + axis.padding
            on_map.append((places >= 0) & (places < limit))
        visible = on_map[0][:, None, :, None] & on_map[1][None, :, None, :]
        return visible.reshape(-1, 1, 1, rows.window * columns.window)

    def macs(self, resolution: tuple[int, int]) -> int:
        rows, columns = (self._axis(size) for size in resolution)
        padded = (rows.size + rows.padding) * (columns.size + columns.padding)
        per_query = 2 * rows.window * columns.window * self.dim
        per_query += self.pos_embed.macs_per_query(rows.window + columns.window) * self.num_heads
        return resolution[0] * resolution[1] * 4 * self.dim**2 + padded * per_query

    def authors_macs(self, resolution: tuple[int, int]) -> int:
        padded = (resolution[0] + -resolution[0] % self.block_size) * (resolution[1] + -resolution[1] % self.block_size)
        per_query = 2 * self.window_size**2 * self.dim
        per_query += self.pos_embed.macs_per_query(2 * (2 * self.window_size - 1)) * self.num_heads
        return resolution[0] * resolution[1] * 4 * self.dim**2 + padded * per_query

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        near = []
        for place, size in zip(position, resolution, strict=True):
            start = place - place % self.block_size - self.halo_size
            places = torch.arange(size)
            near.append((places >= start) & (places < start + self.window_size))
        return near[0][:, None] & near[1]


@dataclass(frozen=True)
class Axis:
    """How the rows, or the columns, of a map are divided.

    Attributes:
        size: of the map, in pixels.
        blocks: how many there are.
        block: side of a block, `halo` and `window` in the same direction.
        skipped: pixels of the full halo before the window that are left out, because all of them would be hidden.
    """

    size: int
    blocks: int
    block: int
    halo: int
    skipped: int

    @property
    def window(self) -> int:
        return self.block + 2 * self.halo

    @property
    def padding(self) -> int:
        """Pixels after the map that fill the last block."""
        return self.blocks * self.block - self.size

    @property
    def reach(self) -> int:
        """Pixels after the map that the last window looks at."""
        return self.padding + self.halo

    def offsets(self, device: torch.device) -> Tensor:
        """b, w: place of each key in the full window minus place of each query in the block."""
        of_query = torch.arange(self.block, device=device)
        return torch.arange(self.window, device=device) + self.skipped - of_query[:, None]


class QueryRelatedEmbedding(nn.Module):
    """Logits that depend on the query and on the relative row and column of the key (HaloNet, section 2.2).

    Tables are indexed by the key's place in the window minus the query's place in the block, so that relative place 0
    is not in the middle, and their first rows are never used. This is the authors' indexing.
    """

    def __init__(self, window_size: int, width: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.width = width
        self.height_rel = nn.Parameter(torch.empty(2 * window_size - 1, width))
        self.width_rel = nn.Parameter(torch.empty(2 * window_size - 1, width))
        nn.init.normal_(self.height_rel, std=width**-0.5)
        nn.init.normal_(self.width_rel, std=width**-0.5)

    def forward(self, q: Tensor, rows: Axis, columns: Axis) -> Tensor:
        """B, blocks, heads, b, b, d -> B, blocks, heads, b*b, w*w."""
        first = self.window_size - 1
        of_row = torch.einsum("...rcd,rad->...rca", q, self.height_rel[rows.offsets(q.device) + first])
        of_column = torch.einsum("...rcd,cad->...rca", q, self.width_rel[columns.offsets(q.device) + first])
        return (of_row[..., :, None] + of_column[..., None, :]).flatten(-2).flatten(-3, -2)

    def macs_per_query(self, table_rows: int) -> int:
        """For one head, when each query meets `table_rows` of the two tables."""
        return table_rows * self.width


class QueryFreeEmbedding(nn.Module):
    """A learned logit for each head and each relative row and column of the key, whatever the query.

    The table is indexed by the query's place minus the key's place on the map, so that relative place 0 is its middle.
    """

    def __init__(self, window_size: int, halo_size: int, num_heads: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.halo_size = halo_size
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, q: Tensor, rows: Axis, columns: Axis) -> Tensor:
        """B, blocks, heads, b, b, d -> 1, 1, heads, b*b, w*w."""
        middle = self.window_size - 1 + self.halo_size
        of_row, of_column = middle - rows.offsets(q.device), middle - columns.offsets(q.device)
        index = of_row[:, None, :, None] * (2 * self.window_size - 1) + of_column[None, :, None, :]  # b, b, w, w
        bias = self.relative_position_bias_table[index.flatten(2).flatten(0, 1)]
        return bias.permute(2, 0, 1)[None, None]

    def macs_per_query(self, table_rows: int) -> int:
        """Nothing is multiplied."""
        return 0
