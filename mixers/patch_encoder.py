"""Patch encoder: attention inside windows, to which every second block adds a convolution that joins the windows.

Source: Yan et al., "ConTNet: Why not use convolution and transformer at the same time?", arXiv:2104.13497, section 3;
official code yan-hao-tian/ConTNet. Its block is two transformer encoders, on patches of 7 x 7 and of 14 x 14 pixels,
then a 3 x 3 convolution. Two blocks of a network with this mixer are one such block: the first attends inside small
patches, the second inside large ones and convolves.
Differences: norm, MLP and residual of the encoders are those of the network around the mixer (`contnet_*` are the
authors' networks), hence the convolution comes before the second MLP, and positions are added to what attention reads,
not to what goes on. Sizes that are no multiple of the patch are masked; the authors' code refuses them. Their flag
`relative` makes it `shifted_window` without a shift, and is left out.
Cost: H W (4 C^2 + 2 w^2 C + k^2 C^2), w the side of the patch, k that of the convolution, 0 without; the second term
counts the map filled up to whole patches.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.linear import Linear
from .kernels.local_attention import IMPLEMENTATIONS, LocalAttention
from .registry import register
from .resizing import resized_rows


@register("patch_encoder")
class PatchEncoder(Mixer):
    """Multi-head attention inside square patches with learned positions, then a convolution. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
        patch_size: side of the patches, in pixels.
        conv_kernel_size: side of the dense convolution behind the attention, odd, in pixels; None: there is none. In
            every second block of a network it is 3, unless it is given.
        implementation: auto, or the code that attends: cpp, triton or reference. The numbers are the same.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        patch_size: int,
        conv_kernel_size: int | None = None,
        implementation: str = "auto",
    ) -> None:
        super().__init__(dim, resolution)
        require(dim >= 2, "dim", dim, "must be at least 2: rows and columns have half of the positions' channels each")
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(patch_size >= 1, "patch_size", patch_size, "must be at least 1")
        is_odd = conv_kernel_size is None or (conv_kernel_size >= 1 and conv_kernel_size % 2 == 1)
        require(is_odd, "conv_kernel_size", conv_kernel_size, "must be odd and at least 1, or None")
        choices = ("auto", *IMPLEMENTATIONS)
        require(implementation in choices, "implementation", implementation, f"must be one of {', '.join(choices)}")
        self.num_heads = num_heads
        self.patch_size = patch_size
        self.conv_kernel_size = conv_kernel_size
        # Of the first and of the second half of the channels, the same in all patches.
        self.row_position = nn.Parameter(torch.zeros(patch_size, dim // 2))
        self.column_position = nn.Parameter(torch.zeros(patch_size, dim - dim // 2))
        self.qkv = Linear(dim, 3 * dim)
        self.attention = LocalAttention(patch_size, implementation=implementation)
        self.proj = Linear(dim, dim)
        self.conv = None
        if conv_kernel_size is not None:
            self.conv = nn.Conv2d(dim, dim, conv_kernel_size, padding=conv_kernel_size // 2, bias=False)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        second = block % 2 == 1
        return {
            "num_heads": largest_divisor(dim, at_most=dim // 64),
            "patch_size": 14 if second and stage < 3 else 7,
            "conv_kernel_size": 3 if second else None,
        }

    def init_weights(self) -> None:
        truncated_normal_layers(self)
        if self.conv is not None and not self.conv.weight.is_meta:
            nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def resize(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        if key not in ("row_position", "column_position"):
            return super().resize(key, tensor, shape)
        return resized_rows(tensor, shape)

    def forward(self, x: Tensor) -> Tensor:
        positions = self._positions(*x.shape[1:3])
        q, k, v = self.qkv(x + positions.to(x.dtype)).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)
        x = self.proj(self.attention(q, k, v))
        return x if self.conv is None else self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def _positions(self, rows: int, columns: int) -> Tensor:
        """H, W, C: those of a patch, over and over."""
        row, column = (torch.arange(size, device=self.qkv.weight.device) for size in (rows, columns))
        by_row = self.row_position[row % self.patch_size][:, None].expand(-1, columns, -1)
        by_column = self.column_position[column % self.patch_size].expand(rows, -1, -1)
        return torch.cat((by_row, by_column), -1)

    def macs(self, resolution: tuple[int, int]) -> int:
        layers = 4 + (self.conv_kernel_size or 0) ** 2
        attention = self.attention.geometry.macs(*resolution, self.dim, relative=False)
        return resolution[0] * resolution[1] * layers * self.dim**2 + attention

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        radius = (self.conv_kernel_size or 1) // 2
        near = []
        for place, size in zip(position, resolution, strict=True):
            patches = torch.arange(size) // self.patch_size
            seen = patches[max(place - radius, 0) : place + radius + 1]
            near.append(torch.isin(patches, seen))
        return near[0][:, None] & near[1]
