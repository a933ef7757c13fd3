"""Halo attention: queries of a block attend to the block and a ring of pixels around it.

Source: Vaswani et al., "Scaling Local Self-Attention for Parameter Efficient Visual Backbones" (HaloNet),
arXiv:2103.12731, as Dai et al., arXiv:2211.05781, use it (official code OpenGVLab/STM-Evaluation).
Differences: sizes that are no multiple of the block are padded, masked and cropped (the authors' classification code
refuses them; `mask_padding=False` is their detection code); keys and values come from a linear layer, not a 1x1
convolution; all windows are attended to at once.
Cost: H W (4 C^2 + 2 w^2 C + 2 w C) with window side w = block_size + 2 halo_size; the last term is the query-related
relative embedding. Attention terms count the padded H and W.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
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
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.pos_embed = (
            QueryRelatedEmbedding(block_size, self.window_size, dim // num_heads)
            if relative_embedding == "query_related"
            else QueryFreeEmbedding(block_size, self.window_size, num_heads)
        )
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns, dim = x.shape
        block, halo, window, heads = self.block_size, self.halo_size, self.window_size, self.num_heads
        width = dim // heads
        pad_rows, pad_columns = -rows % block, -columns % block
        block_rows, block_columns = (rows + pad_rows) // block, (columns + pad_columns) // block
        blocks = block_rows * block_columns

        q = self.q(x)
        if pad_rows or pad_columns:
            q = F.pad(q, (0, 0, 0, pad_columns, 0, pad_rows))
        q = q.reshape(batch, block_rows, block, block_columns, block, heads, width).permute(0, 1, 3, 5, 2, 4, 6)
        q = q.reshape(batch, blocks, heads, block, block, width)

        kv = F.pad(self.kv(x), (0, 0, halo, halo + pad_columns, halo, halo + pad_rows))
        kv = kv.unfold(1, window, block).unfold(2, window, block)  # a view: B, block rows, block columns, 2C, w, w
        kv = kv.unflatten(3, (heads, 2, width)).permute(4, 0, 1, 2, 3, 6, 7, 5)  # head-major, then key and value
        k, v = kv.reshape(2, batch, blocks * heads, window * window, width)

        bias = torch.where(self._visible(rows, columns, x.device), self.pos_embed(q), -torch.inf)
        x = F.scaled_dot_product_attention(q.flatten(1, 2).flatten(2, 3), k, v, attn_mask=bias.flatten(1, 2))

        x = x.reshape(batch, block_rows, block_columns, heads, block, block, width).permute(0, 1, 4, 2, 5, 3, 6)
        # A copy by name: with a single block, some attention kernels would leave a view that ONNX cannot express.
        x = x.clone(memory_format=torch.contiguous_format)
        x = x.reshape(batch, rows + pad_rows, columns + pad_columns, dim)
        return self.proj(x[:, :rows, :columns])

    def _visible(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """bool blocks, 1, 1, w*w: whether each key of each block's window lies on the map."""
        on_map = []
        for size in (rows, columns):
            starts = torch.arange(0, size, self.block_size, device=device) - self.halo_size
            places = starts[:, None] + torch.arange(self.window_size, device=device)
            limit = size if self.mask_padding else size + -size % self.block_size
            on_map.append((places >= 0) & (places < limit))
        visible = on_map[0][:, None, :, None] & on_map[1][None, :, None, :]
        return visible.reshape(-1, 1, 1, self.window_size**2)

    def macs(self, resolution: tuple[int, int]) -> int:
        pixels = resolution[0] * resolution[1]
        padded = (resolution[0] + -resolution[0] % self.block_size) * (resolution[1] + -resolution[1] % self.block_size)
        attention = 2 * self.window_size**2 * self.dim
        return pixels * 4 * self.dim**2 + padded * (attention + self.pos_embed.macs_per_query * self.num_heads)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        near = []
        for place, size in zip(position, resolution, strict=True):
            start = place - place % self.block_size - self.halo_size
            places = torch.arange(size)
            near.append((places >= start) & (places < start + self.window_size))
        return near[0][:, None] & near[1]


class QueryRelatedEmbedding(nn.Module):
    """Logits that depend on the query and on the relative row and column of the key (HaloNet, section 2.2).

    Tables are indexed by the key's place in the window minus the query's place in the block, so that relative place 0
    is not in the middle, and their first rows are never used. This is the authors' indexing.
    """

    def __init__(self, block_size: int, window_size: int, width: int) -> None:
        super().__init__()
        self.block_size = block_size
        self.window_size = window_size
        self.macs_per_query = 2 * window_size * width
        self.height_rel = nn.Parameter(torch.empty(2 * window_size - 1, width))
        self.width_rel = nn.Parameter(torch.empty(2 * window_size - 1, width))
        nn.init.normal_(self.height_rel, std=width**-0.5)
        nn.init.normal_(self.width_rel, std=width**-0.5)

    def forward(self, q: Tensor) -> Tensor:
        """B, blocks, heads, b, b, d -> B, blocks, heads, b*b, w*w."""
        of_query = torch.arange(self.block_size, device=q.device)
        of_key = torch.arange(self.window_size, device=q.device)
        offsets = of_key - of_query[:, None] + self.window_size - 1
        of_row = torch.einsum("...rcd,rad->...rca", q, self.height_rel[offsets])
        of_column = torch.einsum("...rcd,cad->...rca", q, self.width_rel[offsets])
        return (of_row[..., :, None] + of_column[..., None, :]).flatten(-2).flatten(-3, -2)


class QueryFreeEmbedding(nn.Module):
    """A learned logit for each head and each relative row and column of the key, whatever the query.

    The table is indexed by the query's place minus the key's place on the map, so that relative place 0 is its middle.
    """

    macs_per_query = 0

    def __init__(self, block_size: int, window_size: int, num_heads: int) -> None:
        super().__init__()
        self.block_size = block_size
        self.window_size = window_size
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, q: Tensor) -> Tensor:
        """B, blocks, heads, b, b, d -> 1, 1, heads, b*b, w*w."""
        of_query = torch.arange(self.block_size, device=q.device) + (self.window_size - self.block_size) // 2
        of_key = torch.arange(self.window_size, device=q.device)
        offsets = of_query[:, None] - of_key + self.window_size - 1
        index = offsets[:, None, :, None] * (2 * self.window_size - 1) + offsets[None, :, None, :]  # b, b, w, w
        bias = self.relative_position_bias_table[index.reshape(self.block_size**2, self.window_size**2)]
        return bias.permute(2, 0, 1)[None, None]
