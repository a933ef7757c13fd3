"""Bi-level routing attention: pixels attend to the few regions of the map that suit their own region best.

Source: Zhu et al., "BiFormer: Vision Transformer with Bi-Level Routing Attention", arXiv:2303.08810, section 3
(official code rayleizhu/BiFormer). The map is divided into about 7 x 7 regions. The mean query of a region and the mean
keys of all decide which of them its pixels attend to; this choice has no gradient. Values also pass a 5x5 depth-wise
convolution. Scores are divided by the square root of C, not of a head's width, as in the authors' code.
Differences: a region has a side of H / 7 (or W / 7), rounded up, and there are as many as the map has room for, where
the authors always have 7 x 7 and fill them up with pixels that are attended to; here, what fills up the last is hidden,
and no part of a mean. The last stage attends to all regions by the same code, where the authors have another class
(without bias, with 8 heads). Means are taken of the input and projected, in float64, which gives the same and lets half
precision choose the same regions.
Chosen regions lie anywhere, and `LocalAttention` wants them around the block: they are gathered, t copies of the map.
Cost: H W (4 C^2 + 25 C + 2 t p C) + R 2 C^2 + R^2 C with R regions of p pixels, of which t are chosen; the attention
term counts the padded H and W. Without a choice, H W (4 C^2 + 25 C + 2 H W C).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.depthwise import DepthwiseConv2d
from .kernels.linear import Linear
from .registry import register


@register("bilevel_routing_attention")
class BilevelRoutingAttention(Mixer):
    """Multi-head attention to chosen regions. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim. All have the same regions.
        regions: along each axis, at most.
        topk: regions that the pixels of a region attend to, or all, if there are fewer. None: all, without a choice. 1,
            4, 16 and None in the four stages, unless it is given.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        regions: int = 7,
        topk: int | None = 4,
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(regions >= 1, "regions", regions, "must be at least 1")
        rule = f"must be from 1 to {regions**2}, the regions of a map, or None"
        require(topk is None or 1 <= topk <= regions**2, "topk", topk, rule)
        self.num_heads = num_heads
        self.regions = regions
        self.topk = topk
        self.qkv = Linear(dim, 3 * dim)
        self.lepe = DepthwiseConv2d(dim, 5)
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        topk = (1, 4, 16, None)[stage]
        return {
            "num_heads": largest_divisor(dim, at_most=dim // 32),
            "topk": topk and min(topk, given["regions"] ** 2),
        }

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.topk is None:
            attended = self._attended(*(each.flatten(1, 2) for each in (q, k, v))).unflatten(1, x.shape[1:3])
        else:
            attended = self._routed(x, q, k, v, Regions.of(x, self.regions))
        return self.proj(attended + self.lepe(v))

    def _routed(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, regions: "Regions") -> Tensor:
        routes = self._routes(x, regions)
        batch, count, chosen = routes.shape
        index = routes.flatten(1)[..., None]

        def of_chosen(each: Tensor) -> Tensor:
            """B, R, p, n -> B R, t p, n."""
            each = each.flatten(2)
            each = each.gather(1, index.expand(-1, -1, each.shape[2]))
            return each.reshape(batch * count, chosen * regions.pixels, -1)

        mask = None
        if regions.are_filled_up:
            seen = regions.apart(torch.ones_like(x[..., :1], dtype=torch.bool))
            mask = of_chosen(seen).transpose(1, 2)[:, None]  # B R, 1, 1, t p
        key, value = (of_chosen(regions.apart(each)) for each in (k, v))
        attended = self._attended(regions.apart(q).flatten(0, 1), key, value, mask)
        return regions.together(attended.unflatten(0, (batch, count)))

    @torch.no_grad()
    def _routes(self, x: Tensor, regions: "Regions") -> Tensor:
        """B, R, t: the regions that each region's pixels attend to."""
        # In float64, which autocast leaves alone: what half precision rounds must not decide.
        pixels = regions.apart(torch.ones_like(x[:1, ..., :1], dtype=torch.float64)).sum(2)
        means = regions.apart(x.double()).sum(2) / pixels
        rows = 2 * self.dim
        means = F.linear(means, self.qkv.weight[:rows].double(), self.qkv.bias[:rows].double())
        query, key = means.chunk(2, -1)
        return (query @ key.transpose(1, 2)).topk(self._chosen(regions)).indices

    def _chosen(self, regions: "Regions") -> int:
        return min(self.topk or 0, regions.count)

    def _attended(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """B, N, C and twice B, M, C -> B, N, C."""
        q, k, v = (each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in (q, k, v))
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.dim**-0.5)
        return x.transpose(1, 2).flatten(2)

    def macs(self, resolution: tuple[int, int]) -> int:
        pixels = resolution[0] * resolution[1]
        always = pixels * (4 * self.dim**2 + 25 * self.dim)
        if self.topk is None:
            return always + 2 * pixels**2 * self.dim
        regions = Regions.on(resolution, self.regions)
        routing = regions.count * 2 * self.dim**2 + regions.count**2 * self.dim
        keys = self._chosen(regions) * regions.pixels
        return always + routing + 2 * regions.count * regions.pixels * keys * self.dim

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        """Everything, though never at once: which regions are chosen depends on the image."""
        return torch.ones(resolution, dtype=torch.bool)


@dataclass(frozen=True)
class Regions:
    """Rectangles of `sides` that tile a map; those at the bottom and right are filled up.

    Attributes:
        size: rows and columns of the map.
        sides: of a region, in pixels.
        along: regions along each axis.
    """

    size: tuple[int, int]
    sides: tuple[int, int]
    along: tuple[int, int]

    @classmethod
    def on(cls, size: tuple[int, int], most: int) -> "Regions":
        """At most `most` along each axis."""
        rows, columns = (-(-length // most) for length in size)
        return cls(size, (rows, columns), (-(-size[0] // rows), -(-size[1] // columns)))

    @classmethod
    def of(cls, x: Tensor, most: int) -> "Regions":
        """Of a map B, H, W, C."""
        rows, columns = x.shape[1:3]
        return cls.on((rows, columns), most)

    @property
    def count(self) -> int:
        return self.along[0] * self.along[1]

    @property
    def pixels(self) -> int:
        """Of a region, filled up."""
        return self.sides[0] * self.sides[1]

    @property
    def are_filled_up(self) -> bool:
        return self.count * self.pixels > self.size[0] * self.size[1]

    def apart(self, x: Tensor) -> Tensor:
        """B, H, W, C -> B, regions, pixels, C, filled up with zeros."""
        missing = [side * count - length for side, count, length in zip(self.sides, self.along, self.size, strict=True)]
        if any(missing):
            x = F.pad(x, (0, 0, 0, missing[1], 0, missing[0]))
        x = x.unflatten(2, (self.along[1], self.sides[1])).unflatten(1, (self.along[0], self.sides[0]))
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def together(self, x: Tensor) -> Tensor:
        """B, regions, pixels, C -> B, H, W, C."""
        x = x.unflatten(2, self.sides).unflatten(1, self.along).transpose(2, 3)
        return x.flatten(3, 4).flatten(1, 2)[:, : self.size[0], : self.size[1]]
