"""Which keys the queries of a block see, and which entries of a table belong to a query and a key."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """How the rows, or the columns, of a map are divided into windows of one size.

    Attributes:
        size: of the map, in pixels.
        block: side of a block, and `halo` of the ring around it, in the same direction.
        shift: pixels by which the map is rolled to the front, so that the grid of blocks starts on its corner.
        skipped: pixels of a full halo in front of the window that are left out, because none is on the map.
    """

    size: int
    block: int
    halo: int
    shift: int
    skipped: int

    @property
    def blocks(self) -> int:
        return -(-self.size // self.block)

    @property
    def window(self) -> int:
        return self.block + 2 * self.halo

    @property
    def filled(self) -> int:
        """Size of the map filled up to whole blocks."""
        return self.blocks * self.block

    def offsets(self, device: torch.device) -> Tensor:
        """b, w: place of each key in the full window minus place of each query in the block."""
        of_query = torch.arange(self.block, device=device)
        return torch.arange(self.window, device=device) + self.skipped - of_query[:, None]

    def visible(self, device: torch.device) -> Tensor:
        """bool blocks, b, w: whether query and key are pixels of the map that belong together."""
        places = torch.arange(self.filled, device=device)
        # Pixels that the roll brings together from opposite borders are strangers. What fills the map up is a region
        # of its own, so that its queries, which are cut off later, do not face an empty softmax.
        region = torch.div(places - self.shift, self.block, rounding_mode="floor") if self.shift else 0 * places
        region = region.where(places < self.size, -2).roll(-self.shift)
        keys = F.pad(region, (self.halo, self.halo), value=-3).unfold(0, self.window, self.block)
        return region.reshape(-1, self.block, 1) == keys[:, None]


@dataclass(frozen=True)
class Geometry:
    """Blocks of block_size x block_size queries tile the map, each inside a window of keys that is wider by `halo_size`
    on every side. The grid of blocks starts `shift` rows and columns inside the map; what is in front of it belongs to
    blocks that the map's border cuts. Windows are cut by the border too.

    Raises: ValueError for numbers that make no such grid.
    """

    block_size: int
    halo_size: int = 0
    shift: int = 0

    def __post_init__(self) -> None:
        if self.block_size < 1 or self.halo_size < 0 or not 0 <= self.shift < self.block_size:
            raise ValueError(f"{self}: block_size at least 1, halo_size at least 0, shift from 0 to block_size - 1")
        if self.halo_size and self.shift:
            raise ValueError(f"{self}: blocks with a halo cannot be shifted")

    @property
    def window_size(self) -> int:
        return self.block_size + 2 * self.halo_size

    def axis(self, size: int) -> Axis:
        """Rows or columns of a map. A single block is no longer than the map and has no halo: all of it is outside."""
        if size <= self.block_size and not self.shift:
            return Axis(size, size, 0, 0, self.halo_size)
        return Axis(size, self.block_size, self.halo_size, self.shift, 0)

    def macs(self, rows: int, columns: int, channels: int, *, relative: bool) -> int:
        """Multiply-accumulates for one map of `channels` in all heads: scores and sums of values, and for `relative`
        also each query's products with the table entries for the rows and columns of its keys."""
        along = self.axis(rows), self.axis(columns)
        per_channel = 2 * along[0].window * along[1].window + relative * (along[0].window + along[1].window)
        return along[0].filled * along[1].filled * channels * per_channel

    def bias(self, table: Tensor) -> Tensor:
        """heads, b*b, w*w of a whole block and window: entries of the table ((2w-1)^2, heads) by the query's place
        minus the key's on the map."""
        of_query = torch.arange(self.block_size, device=table.device) + self.halo_size
        of_key = torch.arange(self.window_size, device=table.device)
        offsets = of_query[:, None] - of_key + self.window_size - 1
        index = offsets[:, None, :, None] * (2 * self.window_size - 1) + offsets[None, :, None, :]  # b, b, w, w
        return table[index.flatten(2).flatten(0, 1)].permute(2, 0, 1)

    def cut(self, bias: Tensor, rows: Axis, columns: Axis) -> Tensor:
        """The part of `bias` for the block and window that these axes have."""
        block, window = self.block_size, self.window_size
        bias = bias.unflatten(2, (window, window)).unflatten(1, (block, block))  # heads, b, b, w, w
        bias = bias[:, : rows.block, : columns.block]
        bias = bias[..., rows.skipped : rows.skipped + rows.window, :]
        bias = bias[..., columns.skipped : columns.skipped + columns.window]
        return bias.flatten(3).flatten(1, 2)

    def relative_logits(
        self, query: Tensor, row_table: Tensor, column_table: Tensor, rows: Axis, columns: Axis
    ) -> Tensor:
        """Queries ..., b, b, d and tables 2w-1, d -> ..., b*b, w*w: products with the entries for the key's row and
        column, by the key's place in the window minus the query's in the block."""
        first = self.window_size - 1
        of_row = torch.einsum("...rcd,rad->...rca", query, row_table[rows.offsets(query.device) + first])
        of_column = torch.einsum("...rcd,cad->...rca", query, column_table[columns.offsets(query.device) + first])
        return (of_row[..., :, None] + of_column[..., None, :]).flatten(-2).flatten(-3, -2)
