"""Grid attention: attention among few pixels that are spread evenly over the whole map, and inside windows in turn.

Source: Tu et al., "MaxViT: Multi-Axis Vision Transformer", arXiv:2204.01697, section 3.2 (official code
google-research/maxvit). A pixel of the grid partition attends to those at a whole number of strides from it, where the
stride is such that there are grid_size of them along each axis.
Differences: each block has one of the two partitions, in turn, where MaxViT's block has both, one after the other, and
a convolution before them. The authors' code refuses maps whose sides are no multiples of the grid or window. Here the
stride is the side over grid_size, rounded up, and nothing is filled up: lattices may have fewer pixels than the grid,
and differ by one row or column; windows are filled up, masked and cropped.
Both partitions are `LocalAttention` as it is: each lattice is a map of its own, no larger than a window.
Cost: H W (4 C^2 + 2 g^2 C) with g = grid_size; the second term counts the padded H and W of windows, and of lattices
the pixels that they have.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.linear import Linear
from .kernels.local_attention import IMPLEMENTATIONS, LocalAttention
from .lattices import lattice_sizes, over_lattices, same_lattice
from .registry import register
from .resizing import resized_square_table

PARTITIONS = ("window", "grid")


@register("grid_attention")
class GridAttention(Mixer):
    """Multi-head attention inside lattices or windows with a learned relative bias. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
        grid_size: pixels of a lattice, and of a window, along each axis.
        partition: "grid" for lattices, "window" for windows; windows in every first block and lattices in every second,
            unless it is given.
        implementation: auto, or the code that attends: cpp, triton or reference. The numbers are the same.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        grid_size: int = 7,
        partition: str = "grid",
        implementation: str = "auto",
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(grid_size >= 1, "grid_size", grid_size, "must be at least 1")
        require(partition in PARTITIONS, "partition", partition, f"must be one of {', '.join(PARTITIONS)}")
        choices = ("auto", *IMPLEMENTATIONS)
        require(implementation in choices, "implementation", implementation, f"must be one of {', '.join(choices)}")
        self.num_heads = num_heads
        self.grid_size = grid_size
        self.partition = partition
        self.qkv = Linear(dim, 3 * dim)
        self.attention = LocalAttention(grid_size, implementation=implementation)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * grid_size - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"num_heads": largest_divisor(dim, at_most=dim // 32), "partition": PARTITIONS[block % 2]}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def no_weight_decay(self) -> set[str]:
        return {"relative_position_bias_table"}

    def resize(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        if key != "relative_position_bias_table":
            return super().resize(key, tensor, shape)
        return resized_square_table(tensor, shape)

    def forward(self, x: Tensor) -> Tensor:
        if self.partition == "window":
            return self._attend(x)
        return over_lattices(x, [self._stride(size) for size in x.shape[1:3]], self._attend)

    def _attend(self, x: Tensor) -> Tensor:
        """Inside windows, of which a lattice has one."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, self.dim // self.num_heads)).unbind(-3)
        return self.proj(self.attention(q, k, v, bias_table=self.relative_position_bias_table))

    def _stride(self, size: int) -> int:
        """Pixels between neighbours of a lattice."""
        return -(-size // self.grid_size)

    def macs(self, resolution: tuple[int, int]) -> int:
        groups = (
            [[(1, size)] for size in resolution]
            if self.partition == "window"
            else [lattice_sizes(size, self._stride(size)) for size in resolution]
        )
        attention = sum(
            down * across * self.attention.geometry.macs(rows, columns, self.dim, relative=False)
            for down, rows in groups[0]
            for across, columns in groups[1]
        )
        return resolution[0] * resolution[1] * 4 * self.dim**2 + attention

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        near = [
            torch.arange(size) // self.grid_size == place // self.grid_size
            if self.partition == "window"
            else same_lattice(place, size, self._stride(size))
            for place, size in zip(position, resolution, strict=True)
        ]
        return near[0][:, None] & near[1]
