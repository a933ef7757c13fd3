"""Outlook attention: a pixel alone says how all pixels of the window around it attend to each other.

Source: Yuan et al., "VOLO: Vision Outlooker for Visual Recognition", arXiv:2106.13112, section 3.1; official code
sail-sg/volo. No products of queries and keys: a linear layer gives the k^2 x k^2 logits of a window, from the mean of
the pixels at its centre; every pixel adds up what the windows that hold it have for it.
Differences: none in numbers. As in the authors' code, the zeros around the map take part in the softmax.
Cost: 2 H W C^2 + ceil(H / s) ceil(W / s) k^4 C (heads + 1), with s = stride.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.linear import Linear
from .kernels.softmax import softmax
from .registry import register


@register("outlook_attention")
class OutlookAttention(Mixer):
    """Attention inside overlapping windows whose weights are generated, not compared. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
        kernel_size: side k of the windows, odd, in pixels.
        stride: rows and columns between the centres of windows, whose weights come from the mean of stride x stride
            pixels; at most kernel_size // 2 + 1, so that every pixel of any map is in some window.
    """

    def __init__(
        self, dim: int, resolution: tuple[int, int], *, num_heads: int, kernel_size: int = 3, stride: int = 2
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(kernel_size >= 3 and kernel_size % 2 == 1, "kernel_size", kernel_size, "must be odd and at least 3")
        rule = f"must be 1 to {kernel_size // 2 + 1} with kernel_size={kernel_size}"
        require(1 <= stride <= kernel_size // 2 + 1, "stride", stride, rule)
        self.num_heads = num_heads
        self.kernel_size = kernel_size
        self.stride = stride
        self.v = Linear(dim, dim, bias=False)
        self.attn = Linear(dim, kernel_size**4 * num_heads)
        self.pool = nn.AvgPool2d(stride, stride, ceil_mode=True)
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"num_heads": largest_divisor(dim, at_most=dim // 32)}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[1:3]
        heads, taps = self.num_heads, self.kernel_size**2
        windows = {"kernel_size": self.kernel_size, "padding": self.kernel_size // 2, "stride": self.stride}
        value = F.unfold(self.v(x).permute(0, 3, 1, 2), **windows)  # B, C k^2, windows
        value = value.unflatten(1, (heads, -1, taps)).permute(0, 1, 4, 3, 2)

        centres = self.pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        logits = self.attn(centres).flatten(1, 2).unflatten(-1, (heads, taps, taps)).transpose(1, 2)
        scale = (self.dim // heads) ** -0.5
        shares = softmax(logits * scale, torch.promote_types(logits.dtype, torch.float32))

        seen = shares.to(value.dtype) @ value  # B, heads, windows, k^2, C / heads
        x = F.fold(seen.permute(0, 1, 4, 3, 2).flatten(1, 3), (rows, columns), **windows)
        return self.proj(x.permute(0, 2, 3, 1))

    def macs(self, resolution: tuple[int, int]) -> int:
        windows = -(-resolution[0] // self.stride) * -(-resolution[1] // self.stride)
        of_windows = windows * self.kernel_size**4 * self.dim * (self.num_heads + 1)
        return 2 * resolution[0] * resolution[1] * self.dim**2 + of_windows

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        radius = self.kernel_size // 2
        near = []
        for place, size in zip(position, resolution, strict=True):
            centres = torch.arange(0, size, self.stride)
            centres = centres[(centres - place).abs() <= radius]
            near.append(((torch.arange(size) - centres[:, None]).abs() <= radius).any(0))
        return near[0][:, None] & near[1]
