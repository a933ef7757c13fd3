"""Shifted window attention: attention inside windows, whose grid is moved by half a window in every other block.

Source: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", arXiv:2103.14030, section
3.2 and eq. 4, as Dai et al., arXiv:2211.05781, use it (official code OpenGVLab/STM-Evaluation).
Differences: sizes that are no multiple of the window are padded, masked and cropped (the authors' classification code
refuses them; `mask_padding=False, shrink_window=False` is their detection code). Pairs that the shift brings together
from opposite borders do not attend to each other; the authors lower their logits by 100 instead.
Cost: H W (4 C^2 + 2 w^2 C) with window side w; the second term counts the padded H and W, and with
`mask_padding=False` three of the four C^2 do.
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
from .resizing import resized_square_table


@register("shifted_window")
class ShiftedWindowAttention(Mixer):
    """Multi-head attention inside square windows with a learned relative bias. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
        window_size: side of the window, in pixels.
        shift_size: rows and columns by which the window grid is moved down and to the right; less than window_size.
            Half a window in every second block, unless it is given.
        shrink_window: whether a `resolution` that is not larger than the window in one direction makes the smaller of
            its two sides the window, without shift, as the authors' classification code does.
        mask_padding: whether the pixels that fill the map up to whole windows are hidden from the queries. False treats
            them as ordinary pixels of value 0, with the biases of `qkv` as key and value.
        implementation: auto, or the code that attends: cpp, triton or reference. The numbers are the same.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        window_size: int = 7,
        shift_size: int = 0,
        shrink_window: bool = True,
        mask_padding: bool = True,
        implementation: str = "auto",
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(window_size >= 1, "window_size", window_size, "must be at least 1")
        rule = f"must be at least 0 and less than window_size={window_size}"
        require(0 <= shift_size < window_size, "shift_size", shift_size, rule)
        if shrink_window and min(resolution) <= window_size:
            window_size, shift_size = min(resolution), 0
        choices = ("auto", *IMPLEMENTATIONS)
        require(implementation in choices, "implementation", implementation, f"must be one of {', '.join(choices)}")
        self.num_heads = num_heads
        self.window_size = window_size
        self.shift_size = shift_size
        self.mask_padding = mask_padding
        self.qkv = Linear(dim, 3 * dim)
        self.attention = LocalAttention(window_size, shift=shift_size, implementation=implementation)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        shift = given["window_size"] // 2 if block % 2 else 0
        return {"num_heads": largest_divisor(dim, at_most=dim // 32), "shift_size": shift}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def no_weight_decay(self) -> set[str]:
        return {"relative_position_bias_table"}

    def resize(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        if key != "relative_position_bias_table":
            return super().resize(key, tensor, shape)
        return resized_square_table(tensor, shape)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns, dim = x.shape[1:]
        if not self.mask_padding:
            x = F.pad(x, (0, 0, 0, -columns % self.window_size, 0, -rows % self.window_size))
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, dim // self.num_heads)).unbind(-3)
        x = self.attention(q, k, v, bias_table=self.relative_position_bias_table)
        return self.proj(x[:, :rows, :columns])

    def macs(self, resolution: tuple[int, int]) -> int:
        pixels = resolution[0] * resolution[1]
        rows, columns = resolution
        if not self.mask_padding:
            rows, columns = (size + -size % self.window_size for size in resolution)
        attention = self.attention.geometry.macs(rows, columns, self.dim, relative=False)
        return 3 * rows * columns * self.dim**2 + attention + pixels * self.dim**2

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        near = [
            (torch.arange(size) - self.shift_size) // self.window_size == (place - self.shift_size) // self.window_size
            for place, size in zip(position, resolution, strict=True)
        ]
        return near[0][:, None] & near[1]
