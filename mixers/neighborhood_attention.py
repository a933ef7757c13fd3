"""Neighborhood attention: every pixel attends to the k x k pixels around it, or to as many that are further apart.

Sources: Hassani et al., "Neighborhood Attention Transformer" (NAT), arXiv:2204.07143, section 3.1, and Hassani and Shi,
"Dilated Neighborhood Attention Transformer" (DiNAT), arXiv:2209.15001, section 3 (official code
SHI-Labs/Neighborhood-Attention-Transformer and SHI-Labs/NATTEN). The window slides inwards at the border, so that every
pixel has k x k keys; with a dilation, keys are that many pixels apart.
Differences: along an axis too short for the window, every pixel of the lattice is a key; NATTEN refuses such maps now,
and filled them up with pixels that were attended to before.
Windows slide by single pixels and turn at the border, which `LocalAttention`'s blocks cannot express: it has a kernel
of its own, in tiles of 2 k - 1 keys along an axis and in bounded memory. Dilated, each lattice is a map of its own.
Cost: H W (4 C^2 + 2 k^2 C). Of the products that tiles compute, those that no query sees are not counted.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.linear import Linear
from .kernels.neighborhood import macs, neighborhood_attention
from .lattices import lattice_sizes, over_lattices
from .registry import register
from .resizing import resized_square_table


@register("neighborhood_attention")
class NeighborhoodAttention(Mixer):
    """Multi-head attention to the nearest pixels with a learned relative bias. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
        kernel_size: side k of the window of keys, odd, in keys.
        dilation: pixels from one key of the window to the next, where the block is dilated. 8, 4, 2, 1 in the four
            stages, unless it is given: with k = 7 these windows are as large as the maps of an image of 224 pixels.
        dilated: whether the block is. Every second one is, unless it is given; False makes it NAT.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        kernel_size: int = 7,
        dilation: int = 1,
        dilated: bool = True,
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(kernel_size >= 1 and kernel_size % 2 == 1, "kernel_size", kernel_size, "must be odd and at least 1")
        require(dilation >= 1, "dilation", dilation, "must be at least 1")
        self.num_heads = num_heads
        self.kernel_size = kernel_size
        self.dilation = dilation if dilated else 1
        self.qkv = Linear(dim, 3 * dim)
        self.rpb = nn.Parameter(torch.empty(num_heads, 2 * kernel_size - 1, 2 * kernel_size - 1))
        nn.init.trunc_normal_(self.rpb, std=0.02)
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "num_heads": largest_divisor(dim, at_most=dim // 32),
            "dilation": (8, 4, 2, 1)[stage],
            "dilated": block % 2 == 1,
        }

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def no_weight_decay(self) -> set[str]:
        return {"rpb"}

    def resize(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        if key != "rpb":
            return super().resize(key, tensor, shape)
        heads, places, _ = shape
        return resized_square_table(tensor.flatten(1).T, torch.Size((places**2, heads))).T.reshape(shape)

    def forward(self, x: Tensor) -> Tensor:
        if self.dilation == 1:
            return self._attend(x)
        return over_lattices(x, [self._stride(size) for size in x.shape[1:3]], self._attend)

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, self.dim // self.num_heads)).unbind(-3)
        return self.proj(neighborhood_attention(q, k, v, self.rpb, self.kernel_size).flatten(-2))

    def _stride(self, size: int) -> int:
        """The dilation; of an axis that is shorter, each pixel is a lattice by itself."""
        return min(self.dilation, size)

    def macs(self, resolution: tuple[int, int]) -> int:
        groups = [lattice_sizes(size, self._stride(size)) for size in resolution]
        attention = sum(
            down * across * macs(rows, columns, self.dim, self.kernel_size)
            for down, rows in groups[0]
            for across, columns in groups[1]
        )
        return resolution[0] * resolution[1] * 4 * self.dim**2 + attention

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        near = [self._seen(place, size) for place, size in zip(position, resolution, strict=True)]
        return near[0][:, None] & near[1]

    def _seen(self, place: int, size: int) -> Tensor:
        """bool `size`: rows, or columns, of the window's keys."""
        stride = self._stride(size)
        lattice, number = place % stride, place // stride
        length = -(-(size - lattice) // stride)
        first = max(min(number - self.kernel_size // 2, length - self.kernel_size), 0)
        seen = torch.zeros(size, dtype=torch.bool)
        seen[lattice::stride][first : first + self.kernel_size] = True
        return seen
