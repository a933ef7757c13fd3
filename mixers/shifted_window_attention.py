"""Shifted window attention: attention inside windows, whose grid is moved by half a window in every other block.

Source: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", arXiv:2103.14030, section
3.2 and eq. 4, as Dai et al., arXiv:2211.05781, use it (official code OpenGVLab/STM-Evaluation).
Differences: sizes that are no multiple of the window are padded, masked and cropped (the authors' classification code
refuses them; `mask_padding=False, shrink_window=False` is their detection code). Pairs that the shift brings together
from opposite borders do not attend to each other; the authors lower their logits by 100 instead.
Cost: H W (4 C^2 + 2 w^2 C) with window side w; all but the output projection's C^2 count the padded H and W.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .kernels.linear import Linear
from .registry import register


@register("shifted_window")
class ShiftedWindowAttention(Mixer):
    """Multi-head attention inside square windows with a learned relative bias. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
        window_size: side of the window, in pixels.
        shift_size: rows and columns by which the window grid is moved down and to the right; less than window_size.
        shrink_window: whether a `resolution` that is not larger than the window in one direction makes the smaller of
            its two sides the window, without shift, as the authors' classification code does.
        mask_padding: whether the pixels that fill the map up to whole windows are hidden from the queries. False treats
            them as ordinary pixels of value 0, with the biases of `qkv` as key and value.
    """

    per_stage: ClassVar = {"num_heads": lambda dim: largest_divisor(dim, at_most=dim // 32)}
    per_block: ClassVar = {"shift_size": (0, 3)}

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
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(window_size >= 1, "window_size", window_size, "must be at least 1")
        rule = f"must be at least 0 and less than window_size={window_size}"
        require(0 <= shift_size < window_size, "shift_size", shift_size, rule)
        if shrink_window and min(resolution) <= window_size:
            window_size, shift_size = min(resolution), 0
        self.num_heads = num_heads
        self.window_size = window_size
        self.shift_size = shift_size
        self.mask_padding = mask_padding
        self.qkv = Linear(dim, 3 * dim)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns, dim = x.shape
        window, shift, heads = self.window_size, self.shift_size, self.num_heads
        width = dim // heads
        pad_rows, pad_columns = -rows % window, -columns % window
        window_rows, window_columns = (rows + pad_rows) // window, (columns + pad_columns) // window

        if pad_rows or pad_columns:
            x = F.pad(x, (0, 0, 0, pad_columns, 0, pad_rows))
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
        qkv = self.qkv(x).reshape(batch, window_rows, window, window_columns, window, 3, heads, width)
        # Windows and heads share one axis, so that bias and mask broadcast over the batch instead of being repeated.
        q, k, v = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, batch, -1, window * window, width)

        bias = self._relative_bias()[None]
        if shift or (self.mask_padding and (pad_rows or pad_columns)):
            bias = torch.where(self._same_region(rows, columns, x.device), bias, -torch.inf)
        else:
            bias = bias.expand(window_rows * window_columns, -1, -1, -1)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.flatten(0, 1)[None])

        x = x.reshape(batch, window_rows, window_columns, heads, window, window, width).permute(0, 1, 4, 2, 5, 3, 6)
        # A copy by name: with a single window, some attention kernels would leave a view that ONNX cannot express.
        x = x.clone(memory_format=torch.contiguous_format)
        x = x.reshape(batch, rows + pad_rows, columns + pad_columns, dim)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return self.proj(x[:, :rows, :columns])

    def _relative_bias(self) -> Tensor:
        """heads, N, N: bias of each key for each query of a window."""
        places = torch.arange(self.window_size, device=self.relative_position_bias_table.device)
        offsets = places[:, None] - places + self.window_size - 1  # query minus key
        index = offsets[:, None, :, None] * (2 * self.window_size - 1) + offsets[None, :, None, :]
        tokens = self.window_size**2
        return self.relative_position_bias_table[index.reshape(tokens, tokens)].permute(2, 0, 1)

    def _same_region(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """bool windows, 1, N, N: whether two pixels of a rolled window are neighbours on the map.

        Padding is a region of its own, so that its queries, which are cropped later, do not face an empty softmax.
        """
        window, shift = self.window_size, self.shift_size
        labels = []
        for size in (rows, columns):
            places = torch.arange(size + -size % window, device=device)
            label = torch.div(places - shift, window, rounding_mode="floor")
            if self.mask_padding:
                label = label.where(places < size, -2)  # the labels above start at -1
            labels.append(label.roll(-shift).reshape(-1, window))
        of_row, of_column = labels[0][:, None, :, None], labels[1][None, :, None, :]
        region = torch.stack(torch.broadcast_tensors(of_row, of_column)).reshape(2, -1, 1, window * window)
        return (region[..., :, None] == region[..., None, :]).all(0)

    def macs(self, resolution: tuple[int, int]) -> int:
        pixels = resolution[0] * resolution[1]
        window = self.window_size
        padded = (resolution[0] + -resolution[0] % window) * (resolution[1] + -resolution[1] % window)
        return padded * (3 * self.dim**2 + 2 * window**2 * self.dim) + pixels * self.dim**2

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        near = [
            (torch.arange(size) - self.shift_size) // self.window_size == (place - self.shift_size) // self.window_size
            for place, size in zip(position, resolution, strict=True)
        ]
        return near[0][:, None] & near[1]
