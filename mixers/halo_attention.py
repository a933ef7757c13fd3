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

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.linear import Linear
from .kernels.local_attention import IMPLEMENTATIONS, LocalAttention
from .registry import register
from .resizing import resized_rows, resized_square_table


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
        implementation: auto, or the code that attends: cpp, triton or reference. The numbers are the same.
    """

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
        implementation: str = "auto",
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(block_size >= 1, "block_size", block_size, "must be at least 1")
        require(halo_size >= 0, "halo_size", halo_size, "must be at least 0")
        choices = ("query_related", "query_free")
        require(relative_embedding in choices, "relative_embedding", relative_embedding, f"must be one of {choices}")
        choices = ("auto", *IMPLEMENTATIONS)
        require(implementation in choices, "implementation", implementation, f"must be one of {', '.join(choices)}")
        self.num_heads = num_heads
        self.block_size = block_size
        self.halo_size = halo_size
        self.mask_padding = mask_padding
        self.q = Linear(dim, dim, bias=False)
        self.kv = Linear(dim, 2 * dim, bias=False)
        self.attention = LocalAttention(block_size, halo_size=halo_size, implementation=implementation)
        window_size = self.attention.geometry.window_size
        self.pos_embed = (
            QueryRelatedEmbedding(window_size, dim // num_heads)
            if relative_embedding == "query_related"
            else QueryFreeEmbedding(window_size, num_heads)
        )
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"num_heads": largest_divisor(dim, at_most=dim // 32)}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def no_weight_decay(self) -> set[str]:
        return {f"pos_embed.{name}" for name in self.pos_embed.undecayed}

    def resize(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        if not key.startswith("pos_embed."):
            return super().resize(key, tensor, shape)
        return self.pos_embed.resized(tensor, shape)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns, dim = x.shape[1:]
        q = self.q(x).unflatten(-1, (self.num_heads, -1))
        k, v = self.kv(x).unflatten(-1, (self.num_heads, 2, dim // self.num_heads)).unbind(-2)  # head-major
        if not self.mask_padding:
            fill = (0, 0, 0, 0, 0, -columns % self.block_size, 0, -rows % self.block_size)
            q, k, v = (F.pad(x, fill) for x in (q, k, v))
        x = self.attention(q, k, v, **self.pos_embed())
        return self.proj(x[:, :rows, :columns])

    def macs(self, resolution: tuple[int, int]) -> int:
        map_size = resolution if self.mask_padding else self._filled(resolution)
        relative = isinstance(self.pos_embed, QueryRelatedEmbedding)
        attention = self.attention.geometry.macs(*map_size, self.dim, relative=relative)
        return resolution[0] * resolution[1] * 4 * self.dim**2 + attention

    def authors_macs(self, resolution: tuple[int, int]) -> int:
        rows, columns = self._filled(resolution)
        window = self.attention.geometry.window_size
        entries = 2 * (2 * window - 1) if isinstance(self.pos_embed, QueryRelatedEmbedding) else 0
        return resolution[0] * resolution[1] * 4 * self.dim**2 + rows * columns * self.dim * (2 * window**2 + entries)

    def _filled(self, resolution: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns up to whole blocks."""
        rows, columns = (size + -size % self.block_size for size in resolution)
        return rows, columns

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        near = []
        for place, size in zip(position, resolution, strict=True):
            start = place - place % self.block_size - self.halo_size
            places = torch.arange(size)
            near.append((places >= start) & (places < start + self.attention.geometry.window_size))
        return near[0][:, None] & near[1]


class QueryRelatedEmbedding(nn.Module):
    """Logits that depend on the query and on the relative row and column of the key (HaloNet, section 2.2).

    Tables are indexed by the key's place in the window minus the query's place in the block, so that relative place 0
    is not in the middle, and their first rows are never used. This is the authors' indexing.
    """

    undecayed = ()
    resized = staticmethod(resized_rows)

    def __init__(self, window_size: int, width: int) -> None:
        super().__init__()
        self.height_rel = nn.Parameter(torch.empty(2 * window_size - 1, width))
        self.width_rel = nn.Parameter(torch.empty(2 * window_size - 1, width))
        nn.init.normal_(self.height_rel, std=width**-0.5)
        nn.init.normal_(self.width_rel, std=width**-0.5)

    def forward(self) -> dict[str, Tensor]:
        return {"row_table": self.height_rel, "column_table": self.width_rel}


class QueryFreeEmbedding(nn.Module):
    """A learned logit for each head and each relative row and column of the key, whatever the query.

    The table is indexed by the query's place minus the key's place on the map, so that relative place 0 is its middle.
    """

    undecayed = ("relative_position_bias_table",)
    resized = staticmethod(resized_square_table)

    def __init__(self, window_size: int, num_heads: int) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self) -> dict[str, Tensor]:
        return {"bias_table": self.relative_position_bias_table}
