"""Cross-shaped attention: half of the heads attend inside stripes of columns, the other half inside stripes of rows.

Source: Dong et al., "CSWin Transformer: A General Vision Transformer Backbone with Cross-Shaped Windows",
arXiv:2107.00652, sections 3.2 and 3.3 (official code microsoft/CSWin-Transformer). Positions come from a 3x3 depth-wise
convolution of the values that does not see beyond the stripe ("locally enhanced positional encoding").
Differences: maps that are no multiple of a stripe have a narrower last one, to which nothing is added; the authors'
code refuses them, and for other tasks fills them up with pixels that are attended to. The numbers of heads are even,
for any width. Where a stage's map is one window, the authors decide so by the size that it is built for; here it is
the option `stripe_width`.
Stripes are as long as the map and one or a few pixels wide, and `LocalAttention`'s blocks are square: this is PyTorch's
fused attention, over all stripes of one width at once.
Cost: H W (4 C^2 + s (H + W) C + 9 C) with stripe width s; H W (4 C^2 + 2 H W C + 9 C) where the map is one window.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.as_built import is_untouched
from .kernels.depthwise import DepthwiseConv2d, depthwise_conv
from .kernels.linear import Linear
from .registry import register


@register("cross_shaped_attention")
class CrossShapedAttention(Mixer):
    """Multi-head attention inside stripes of rows and of columns. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads, an even number with stripes. Divides dim.
        stripe_width: columns, and rows, of a stripe. None: the whole map is one window, for all heads. 1, 2, 7 and None
            in the four stages, unless it is given.
    """

    def __init__(self, dim: int, resolution: tuple[int, int], *, num_heads: int, stripe_width: int | None = 1) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        if stripe_width is not None:
            require(stripe_width >= 1, "stripe_width", stripe_width, "must be at least 1, or None")
            rule = "must be even, half of them for either direction (or stripe_width None)"
            require(num_heads % 2 == 0, "num_heads", num_heads, rule)
        self.stripe_width = stripe_width
        directions = 1 if stripe_width is None else 2
        self.qkv = Linear(dim, 3 * dim)
        self.attns = nn.ModuleList(
            StripeAttention(dim // directions, num_heads // directions) for _ in range(directions)
        )
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "num_heads": 2 * largest_divisor(dim // 2, at_most=dim // 64),
            "stripe_width": (1, 2, 7, None)[stage],
        }

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, -1))  # B, H, W, 3, C
        if self.stripe_width is None:
            return self.proj(self.attns[0](qkv[:, None])[:, 0])
        parts = zip((2, 1), self.attns, qkv.chunk(2, -1), strict=True)
        return self.proj(
            torch.cat([over_stripes(part, axis, self.stripe_width, attn) for axis, attn, part in parts], -1)
        )

    def macs(self, resolution: tuple[int, int]) -> int:
        pixels = resolution[0] * resolution[1]
        # Pairs of pixels that attend to each other, in all heads: with stripes, in half of them for either direction.
        pairs = 2 * pixels**2
        if self.stripe_width is not None:
            pairs = sum(
                length**2 * (size // self.stripe_width * self.stripe_width**2 + (size % self.stripe_width) ** 2)
                for size, length in (resolution, resolution[::-1])
            )
        return pixels * (4 * self.dim**2 + 9 * self.dim) + pairs * self.dim

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        if self.stripe_width is None:
            return torch.ones(resolution, dtype=torch.bool)
        near = [
            torch.arange(size) // self.stripe_width == place // self.stripe_width
            for place, size in zip(position, resolution, strict=True)
        ]
        return near[0][:, None] | near[1]


class StripeAttention(nn.Module):
    """Attention among all pixels of a small map, and the convolution that tells it of positions."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.get_v = DepthwiseConv2d(dim, 3)

    def forward(self, qkv: Tensor) -> Tensor:
        """B, n, h, w, 3, C -> B, n, h, w, C, for each of n maps by itself."""
        q, k, v = qkv.flatten(2, 3).flatten(0, 1).unflatten(-1, (self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x.reshape(qkv[:, :, :, :, 0].shape) + self._positions(qkv[:, :, :, :, 2])

    def _positions(self, v: Tensor) -> Tensor:
        """B, n, h, w, C -> the same. The n maps are n times the channels, since a convolution's batch must stay the
        images: with another, torch.compile would make graphs for few images and for many."""
        if type(self.get_v) is not DepthwiseConv2d or not is_untouched(self.get_v):  # changed, or listened to
            return self.get_v(v.flatten(0, 1)).unflatten(0, v.shape[:2])
        count = v.shape[1]
        x = v.permute(0, 2, 3, 1, 4).flatten(3)
        x = depthwise_conv(x, self.get_v.weight.squeeze(1).repeat(count, 1, 1), self.get_v.bias.repeat(count))
        return x.unflatten(3, (count, -1)).permute(0, 3, 1, 2, 4)


def over_stripes(x: Tensor, axis: int, width: int, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Applies `function`, B, n, h, w, ... -> B, n, h, w, C, to the n stripes of a map: B, H, W, ... -> B, H, W, C.

    A stripe has `width` rows (axis 1) or columns (axis 2). All of them come at once, but for the last, if it is
    narrower.
    """
    whole, rest = divmod(x.shape[axis], width)
    parts = []
    if whole:
        stripes = x.narrow(axis, 0, whole * width).unflatten(axis, (whole, width)).movedim(axis, 1)
        parts.append(function(stripes).movedim(1, axis).flatten(axis, axis + 1))
    if rest:
        parts.append(function(x.narrow(axis, whole * width, rest)[:, None])[:, 0])
    return torch.cat(parts, axis) if len(parts) > 1 else parts[0]
