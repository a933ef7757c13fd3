"""Manhattan attention: attention to all pixels that fades with the distance in rows and columns, by head.

Source: Fan et al., "RMT: Retentive Networks Meet Vision Transformers", arXiv:2309.11523, section 3.2 (official code
qhfan/RMT). Queries and keys are rotated by the pixel's number, row by row; logits are lowered in proportion to the
Manhattan distance, before the softmax as in the authors' code (the paper writes the decay after it); values also pass a
5x5 depth-wise convolution. Decomposed, each row is attended to by itself and then, with the same queries and keys, each
column.
Differences: one linear layer for query, key and value; heads are of even width for any number of channels.
The decomposed form needs memory for heads (H^2 + W^2) logits, the whole one for heads (H W)^2 of them, which is why it
is for small maps.
Cost: H W (4 C^2 + 25 C + 2 H W C), decomposed H W (4 C^2 + 25 C + 2 (H + W) C).
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.depthwise import DepthwiseConv2d
from .kernels.linear import Linear
from .registry import register


@register("manhattan_attention")
class ManhattanAttention(Mixer):
    """Multi-head attention with a fixed decay over Manhattan distance. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads, of an even number of channels each. Divides dim.
        decomposed: whether rows and columns are attended to one after the other. In the first three stages, unless it
            is given, as in RMT-S, -B and -L.
        decay_start, decay_range: head j of h lowers a logit by -ln(1 - 2^-(start + range j / h)) for each row and
            column of distance. The range is 4, 4, 6, 6 in the four stages, unless it is given.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        decomposed: bool = True,
        decay_start: float = 2.0,
        decay_range: float = 4.0,
    ) -> None:
        super().__init__(dim, resolution)
        rule = f"must divide dim={dim} into heads of an even number of channels"
        require(num_heads >= 1 and dim % (2 * num_heads) == 0, "num_heads", num_heads, rule)
        require(decay_start > 0, "decay_start", decay_start, "must be above 0")
        require(decay_range >= 0, "decay_range", decay_range, "must be at least 0")
        self.num_heads = num_heads
        self.decomposed = decomposed
        self.decays = [math.log(1 - 2 ** -(decay_start + decay_range * j / num_heads)) for j in range(num_heads)]
        self.qkv = Linear(dim, 3 * dim)
        self.lepe = DepthwiseConv2d(dim, 5)
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "num_heads": largest_divisor(dim // 2, at_most=dim // 32),
            "decomposed": stage < 3,
            "decay_range": (4.0, 4.0, 6.0, 6.0)[stage],
        }

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, -1))
        qk, v = qkv.unflatten(-1, (self.num_heads, -1)).split((2, 1), 3)
        q, k = rotated(qk.flatten(3, 4)).chunk(2, 3)  # B, H, W, heads, d
        v = v.squeeze(3)
        mixed = self._row_by_row_and_column_by_column(q, k, v) if self.decomposed else self._over_all(q, k, v)
        return self.proj(mixed.flatten(-2) + self.lepe(qkv[:, :, :, 2]))

    def _over_all(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows, columns = q.shape[1:3]
        down, across = distances(rows, q), distances(columns, q)
        distance = (down[:, None, :, None] + across[:, None, :]).reshape(rows * columns, -1)
        x = self._attended(*(x.flatten(1, 2) for x in (q, k, v)), distance)
        return x.unflatten(1, (rows, columns))

    def _row_by_row_and_column_by_column(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows, columns = q.shape[1:3]
        x = self._attended(*(x.flatten(0, 1) for x in (q, k, v)), distances(columns, q)).unflatten(0, (-1, rows))
        q, k, x = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, x))
        return self._attended(q, k, x, distances(rows, q)).unflatten(0, (-1, columns)).transpose(1, 2)

    def _attended(self, q: Tensor, k: Tensor, v: Tensor, distance: Tensor) -> Tensor:
        """Three B, N, heads, d and the distance of each query from each key, N, N -> B, N, heads, d."""
        logits = torch.stack([decay * distance for decay in self.decays])
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=logits[None]).transpose(1, 2)

    def macs(self, resolution: tuple[int, int]) -> int:
        pixels = resolution[0] * resolution[1]
        keys = sum(resolution) if self.decomposed else pixels
        return pixels * (4 * self.dim**2 + 25 * self.dim + 2 * keys * self.dim)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)


def rotated(x: Tensor) -> Tensor:
    """Each pair of neighbouring channels, turned by an angle in proportion to the pixel's number: B, H, W, heads, d."""
    rows, columns, _, width = x.shape[1:]
    # In float64, since angles are as large as the map has pixels.
    number = torch.arange(rows * columns, device=x.device, dtype=torch.float64).unflatten(0, (rows, columns))
    speed = 10000 ** -torch.linspace(0, 1, width // 2, device=x.device, dtype=torch.float64)
    precise = torch.promote_types(x.dtype, torch.float32)
    angle = (number[:, :, None, None] * speed).repeat_interleave(2, -1)
    cos, sin = angle.cos().to(precise), angle.sin().to(precise)
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned_by_a_quarter = torch.stack([-second, first], -1).flatten(-2)
    return (x * cos + turned_by_a_quarter * sin).to(x.dtype)


def distances(size: int, like: Tensor) -> Tensor:
    """size, size: how far apart the places along an axis are, on the device and in the dtype of `like`."""
    places = torch.arange(size, device=like.device, dtype=like.dtype)
    return (places[:, None] - places).abs()
