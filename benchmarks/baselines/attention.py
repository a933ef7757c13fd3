"""The attention mixers in their straightforward form: every score is materialised, every window is gathered.

What makes a network fast in this project is left out on purpose: no fused attention, no strided views, nothing kept
from one forward to the next but what the authors keep (masks and index tables).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attend(q: Tensor, k: Tensor, v: Tensor, logits: Tensor | float = 0.0, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T + logits) v over the last two axes; where `mask` is true a key is hidden. `q` is scaled already."""
    scores = q @ k.transpose(-2, -1) + logits
    if mask is not None:
        scores = scores.masked_fill(mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ v


class HaloAttention(nn.Module):
    """Halo attention on `B, H, W, C`, H and W multiples of the block; windows are gathered with `unfold`."""

    def __init__(self, dim: int, num_heads: int, block_size: int, halo_size: int) -> None:
        super().__init__()
        self.num_heads, self.block, self.halo = num_heads, block_size, halo_size
        self.window = block_size + 2 * halo_size
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Conv2d(dim, 2 * dim, 1, bias=False)
        self.pos_embed = RelativeRowsAndColumns(block_size, self.window, dim // num_heads)
        self.proj = nn.Linear(dim, dim)
        self.hidden: dict[tuple[int, int], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns, dim = x.shape
        block, heads, width = self.block, self.num_heads, dim // self.num_heads
        grid = (batch, rows // block, block, columns // block, block)
        q = self.q(x).reshape(*grid, heads, width).permute(0, 1, 3, 5, 2, 4, 6)
        q = q.reshape(-1, heads, block, block, width)  # B * blocks, heads, b, b, d
        windows = self.windows(self.kv(x.permute(0, 3, 1, 2)))
        k, v = windows.reshape(len(q), heads, 2 * width, self.window**2).transpose(2, 3).chunk(2, -1)
        if (rows, columns) not in self.hidden:
            self.hidden[rows, columns] = self.windows(x.new_ones(1, 1, rows, columns)) == 0
        hidden = self.hidden[rows, columns].repeat(batch, 1, 1)[:, None]
        x = attend(q.flatten(2, 3) * width**-0.5, k, v, self.pos_embed(q), hidden)
        x = x.reshape(batch, rows // block, columns // block, heads, block, block, width)
        return self.proj(x.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, rows, columns, dim))

    def windows(self, x: Tensor) -> Tensor:
        """B, C, H, W -> B * blocks, C, w * w."""
        columns = F.unfold(x, self.window, padding=self.halo, stride=self.block)
        return columns.transpose(1, 2).reshape(-1, x.shape[1], self.window**2)


class RelativeRowsAndColumns(nn.Module):
    """Logits from the query and the relative row and column of the key."""

    def __init__(self, block: int, window: int, width: int) -> None:
        super().__init__()
        self.height_rel = nn.Parameter(torch.randn(2 * window - 1, width) * width**-0.5)
        self.width_rel = nn.Parameter(torch.randn(2 * window - 1, width) * width**-0.5)
        offsets = torch.arange(window) - torch.arange(block)[:, None] + window - 1
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, q: Tensor) -> Tensor:
        """N, heads, b, b, d -> N, heads, b * b, w * w."""
        of_row = torch.einsum("nhrcd,rad->nhrca", q, self.height_rel[self.offsets])
        of_column = torch.einsum("nhrcd,cad->nhrca", q, self.width_rel[self.offsets])
        return (of_row[..., :, None] + of_column[..., None, :]).flatten(-2).flatten(2, 3)


class SpatialReductionAttention(nn.Module):
    """Attention of tokens `B, N, C` to a strided convolution of their map."""

    def __init__(self, dim: int, num_heads: int, sr_ratio: int) -> None:
        super().__init__()
        self.num_heads, self.sr_ratio = num_heads, sr_ratio
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dim, dim, sr_ratio, stride=sr_ratio)
            self.norm = nn.LayerNorm(dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        batch, tokens, dim = x.shape
        width = dim // self.num_heads
        q = self.q(x).reshape(batch, tokens, self.num_heads, width).transpose(1, 2)
        reduced = x
        if self.sr_ratio > 1:
            reduced = self.sr(x.transpose(1, 2).reshape(batch, dim, rows, columns))
            reduced = self.norm(reduced.flatten(2).transpose(1, 2))
        k, v = self.kv(reduced).reshape(batch, -1, 2, self.num_heads, width).permute(2, 0, 3, 1, 4)
        x = attend(q * width**-0.5, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, dim))


class WindowAttention(nn.Module):
    """Attention inside windows of tokens `B * windows, w * w, C`, with a bias that is looked up in every forward."""

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.relative_position_bias_table = nn.Parameter(torch.randn((2 * window_size - 1) ** 2, num_heads) * 0.02)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        offsets = torch.arange(window_size)[:, None] - torch.arange(window_size) + window_size - 1
        index = offsets[:, None, :, None] * (2 * window_size - 1) + offsets[None, :, None, :]
        self.register_buffer("relative_position_index", index.reshape(window_size**2, window_size**2), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`mask`: windows, N, N, added to the scores."""
        count, tokens, dim = x.shape
        width = dim // self.num_heads
        q, k, v = self.qkv(x).reshape(count, tokens, 3, self.num_heads, width).permute(2, 0, 3, 1, 4)
        logits = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        if mask is not None:
            logits = logits + mask.repeat(count // len(mask), 1, 1)[:, None]
        x = attend(q * width**-0.5, k, v, logits)
        return self.proj(x.transpose(1, 2).reshape(count, tokens, dim))
