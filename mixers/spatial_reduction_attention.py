"""Spatial reduction attention: every pixel attends to a coarser map of the whole image.

Source: Wang et al., "Pyramid Vision Transformer", arXiv:2102.12122, section 3.3, as Dai et al., arXiv:2211.05781, use
it (official code OpenGVLab/STM-Evaluation).
Differences: none in numbers. Maps smaller than the reduction, which the authors' code cannot reduce, are filled up with
zeros to one whole patch. The position embedding of PVT is not part of the mixer.
Cost: H W (2 C^2 + 2 M C) + M (2 C^2 + s^2 C^2), with s = sr_ratio and M = floor(H / s) floor(W / s) keys; the s^2 term
only for s > 1.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, neighbourhood, require
from .initialization import truncated_normal_layers
from .kernels.linear import Linear
from .kernels.patches import PatchConv2d
from .registry import register


@register("sra")
class SpatialReductionAttention(Mixer):
    """Multi-head attention to a strided convolution of the map. B, H, W, C -> B, H, W, C.

    Rows and columns at the bottom and right that fill no whole patch of the reduction make no key, as in the authors'
    code.

    Args:
        num_heads: attention heads. Divides dim.
        sr_ratio: side of the square patch that becomes one key and value, in pixels; 1 keeps every pixel.
    """

    def __init__(self, dim: int, resolution: tuple[int, int], *, num_heads: int, sr_ratio: int = 1) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(sr_ratio >= 1, "sr_ratio", sr_ratio, "must be at least 1")
        self.num_heads = num_heads
        self.sr_ratio = sr_ratio
        self.q = Linear(dim, dim)
        self.kv = Linear(dim, 2 * dim)
        if sr_ratio > 1:
            self.sr = PatchConv2d(dim, dim, sr_ratio)
            self.norm = nn.LayerNorm(dim)
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"num_heads": largest_divisor(dim, at_most=dim // 32), "sr_ratio": (8, 4, 2, 1)[stage]}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns, dim = x.shape
        width = dim // self.num_heads
        q = self.q(x).reshape(batch, rows * columns, self.num_heads, width).transpose(1, 2)
        kv = self.kv(self._reduce(x)).reshape(batch, -1, 2, self.num_heads, width)
        k, v = kv.permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, rows, columns, dim))

    def _reduce(self, x: Tensor) -> Tensor:
        """B, H, W, C -> B, floor(H / s), floor(W / s), C, at least one row and column."""
        if self.sr_ratio == 1:
            return x
        missing_rows, missing_columns = (max(self.sr_ratio - size, 0) for size in x.shape[1:3])
        if missing_rows or missing_columns:
            x = F.pad(x, (0, 0, 0, missing_columns, 0, missing_rows))
        return self.norm(self.sr(x))

    def macs(self, resolution: tuple[int, int]) -> int:
        pixels = resolution[0] * resolution[1]
        keys = self._keys(resolution)
        reduction = self.sr_ratio**2 * self.dim**2 if self.sr_ratio > 1 else 0
        return pixels * (2 * self.dim**2 + 2 * keys * self.dim) + keys * (2 * self.dim**2 + reduction)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        reduced = [
            torch.arange(size) < (size - size % self.sr_ratio if size >= self.sr_ratio else size) for size in resolution
        ]
        attended = reduced[0][:, None] & reduced[1]
        # The share of an only key is 1, whatever the query.
        return attended | neighbourhood(position, resolution, 0) if self._keys(resolution) > 1 else attended

    def _keys(self, resolution: tuple[int, int]) -> int:
        return max(resolution[0] // self.sr_ratio, 1) * max(resolution[1] // self.sr_ratio, 1)
