"""Linear attention: similarities are products of features, so that keys and values are summed up before queries ask.

Sources, one for each `feature_map`, each in its own surroundings:
focused: Han et al., "FLatten Transformer: Vision Transformer using Focused Linear Attention", arXiv:2308.00442, section
4; official code LeapLabTHU/FLatten-Transformer;
relu: Cai et al., "EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense Prediction", arXiv:2205.14756,
section 3.1; official code mit-han-lab/efficientvit;
elu: Han et al., "Demystify Mamba in Vision: A Linear Attention Perspective" (MLLA), arXiv:2405.16605, section 4;
official code LeapLabTHU/MLLA.
Differences: none in numbers at the sizes that the authors build for. The position table of `focused` is interpolated
for maps of other sizes. Whatever the map's dtype, features, sums and quotients are in at least float32, because float16
overflows.
Cost, with d = C / num_heads, H W times: focused 4 C^2 + 2 d C + C + 25 C, and the interpolation; relu 5 C^2 +
3 C (25 + d) + 2 C (2 d + 1); elu 5 C^2 + 2 d C + C + 18 C.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .interpolation import interpolated, interpolation_macs
from .kernels.depthwise import DepthwiseConv2d, depthwise_conv
from .kernels.linear import Linear
from .normed_linear import NormedLinear
from .registry import register


@register("linear_attention")
class LinearAttention(Mixer):
    """Multi-head attention at a cost linear in the number of pixels, in one of three forms. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
        feature_map: focused, relu or elu, with what their authors put around it.
        table_size: side of the square table of positions that `focused` adds to the keys; the others have none. The
            map's at 224 pixels, unless it is given.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        feature_map: str = "focused",
        table_size: int = 14,
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(table_size >= 1, "table_size", table_size, "must be at least 1")
        choices = ("focused", "relu", "elu")
        require(feature_map in choices, "feature_map", feature_map, f"must be one of {', '.join(choices)}")
        rule = f"rotates channels in fours, so dim={dim} must be a multiple of 4"
        require(feature_map != "elu" or dim % 4 == 0, "feature_map", feature_map, rule)
        if feature_map == "focused":
            self.attention = FocusedAttention(dim, num_heads, table_size)
        elif feature_map == "relu":
            self.attention = MultiScaleAttention(dim, num_heads)
        else:
            self.attention = GatedAttention(dim, num_heads)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"num_heads": largest_divisor(dim, at_most=dim // 32), "table_size": (56, 28, 14, 7)[stage]}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def resize(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        if key != "attention.position_table" or tensor.ndim != 3 or tensor.shape[2:] != shape[2:]:
            return super().resize(key, tensor, shape)
        return interpolated(tensor, *shape[:2])

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x)

    def macs(self, resolution: tuple[int, int]) -> int:
        return self.attention.macs(resolution)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)


def attend(q: Tensor, k: Tensor, v: Tensor, eps: float, *, turned: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Mean of the values, weighted by the products of features q and k, which are not negative. ..., N, d each.

    Args:
        eps: added to the sum of the weights.
        turned: other features for the weights of the values, but not for their sum.
    """
    turned_q, turned_k = (q, k) if turned is None else turned
    weights = q @ k.sum(-2).unsqueeze(-1)
    return turned_q @ (turned_k.transpose(-1, -2) @ v) / (weights + eps)


def precise(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in at least float32."""
    return tuple(tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors)


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Inside, products of float32 stay in float32."""
    # There is no autocast on the meta device.
    return nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False)


class FocusedAttention(nn.Module):
    """FLatten's: a cube sharpens the features and keeps their length; a depth-wise convolution of the values is added.

    B, H, W, C -> B, H, W, C.
    """

    def __init__(self, dim: int, num_heads: int, table_size: int) -> None:
        super().__init__()
        self.dim, self.num_heads = dim, num_heads
        self.qkv = Linear(dim, 3 * dim)
        # Of three axes as the authors', whose weight decay goes by that.
        self.scale = nn.Parameter(torch.zeros(1, 1, dim))
        self.position_table = nn.Parameter(torch.zeros(table_size, table_size, dim))
        self.dwconv = HeadwiseConv2d(dim // num_heads, num_heads)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        k = k + interpolated(self.position_table, *x.shape[1:3])
        scale = F.softplus(self.scale)
        with without_autocast(x):
            features = (focused(each, scale) for each in precise(q, k))
            mixed = attend(*(by_head(each, self.num_heads) for each in (*features, *precise(v))), eps=1e-6)
        mixed = as_map(mixed, x).to(v.dtype)
        return self.proj(mixed + self.dwconv(v))

    def macs(self, resolution: tuple[int, int]) -> int:
        per_pixel = 4 * self.dim**2 + 2 * self.dim**2 // self.num_heads + self.dim + 25 * self.dim
        table = interpolation_macs(tuple(self.position_table.shape[:2]), resolution, self.dim)
        return resolution[0] * resolution[1] * per_pixel + table


def focused(x: Tensor, scale: Tensor) -> Tensor:
    """..., C -> ..., C: the direction of the cubes, and the length from before."""
    x = (F.relu(x) + 1e-6) / scale.to(x.dtype)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    cubes = (x / length) ** 3  # of directions: cubes of small numbers vanish
    return length * cubes / torch.linalg.vector_norm(cubes, dim=-1, keepdim=True)


class HeadwiseConv2d(nn.Conv2d):
    """Depth-wise 5 x 5 convolution, whose filters are the same in every head. B, H, W, C -> B, H, W, C."""

    def __init__(self, head_dim: int, num_heads: int) -> None:
        super().__init__(head_dim, head_dim, 5, groups=head_dim)
        self.num_heads = num_heads

    def forward(self, x: Tensor) -> Tensor:
        return depthwise_conv(x, self.weight.squeeze(1).repeat(self.num_heads, 1, 1), self.bias.repeat(self.num_heads))


class MultiScaleAttention(nn.Module):
    """EfficientViT's: pixels and sums of 5 x 5 pixels attend, each with half of the heads. B, H, W, C -> B, H, W, C."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.dim, self.num_heads = dim, num_heads
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.dwconv = DepthwiseConv2d(3 * dim, 5, bias=False)
        self.grouped = nn.Conv2d(3 * dim, 3 * dim, 1, groups=3 * num_heads, bias=False)
        self.proj = NormedLinear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x)
        coarse = self.grouped(self.dwconv(qkv).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        # Queries, keys and values of a head lie side by side.
        q, k, v = by_head(torch.cat((qkv, coarse), -1), 2 * self.num_heads).chunk(3, -1)
        with without_autocast(x):
            mixed = attend(*precise(F.relu(q), F.relu(k), v), eps=1e-15)
        return self.proj(as_map(mixed, x).to(v.dtype))

    def macs(self, resolution: tuple[int, int]) -> int:
        width = self.dim // self.num_heads
        projections = 5 * self.dim**2 + 3 * self.dim * (25 + width)
        return resolution[0] * resolution[1] * (projections + 2 * self.dim * (2 * width + 1))


class GatedAttention(nn.Module):
    """MLLA's: features elu + 1, turned by their pixel's row and column where they weigh values, and Mamba's gate.

    The values are the input of queries and keys itself. B, H, W, C -> B, H, W, C.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.dim, self.num_heads = dim, num_heads
        self.gate_proj = Linear(dim, dim)
        self.input_proj = Linear(dim, dim)
        self.input_conv = DepthwiseConv2d(dim, 3)
        self.qk = Linear(dim, 2 * dim)
        self.value_conv = DepthwiseConv2d(dim, 3)
        self.output_proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.silu(self.gate_proj(x))
        v = F.silu(self.input_conv(self.input_proj(x)))
        q, k = self.qk(v).chunk(2, -1)
        with without_autocast(x):
            q, k = (F.elu(each) + 1 for each in precise(q, k))
            turned = tuple(by_head(rotated(each), self.num_heads) for each in (q, k))
            q, k, values = (by_head(each, self.num_heads) for each in (q, k, *precise(v)))
            # The authors add eps to the mean of the weights, not to their sum.
            mixed = attend(q, k, values, eps=1e-6 * q.shape[-2], turned=turned)
        mixed = as_map(mixed, x).to(v.dtype) + self.value_conv(v)
        return self.output_proj(mixed * gate)

    def macs(self, resolution: tuple[int, int]) -> int:
        per_pixel = 5 * self.dim**2 + 2 * self.dim**2 // self.num_heads + self.dim + 2 * 9 * self.dim
        return resolution[0] * resolution[1] * per_pixel


def rotated(x: Tensor) -> Tensor:
    """Pairs of neighbouring channels, turned: the first half of them by the row, the second by the column.

    B, H, W, C -> B, H, W, C; pair j of C / 4 turns by 10000^(-4 j / C) a row or column.
    """
    rows, columns, dim = x.shape[1:]
    frequencies = 10000.0 ** (-4 / dim * torch.arange(dim // 4, device=x.device, dtype=x.dtype))
    row, column = (
        torch.arange(size, device=x.device, dtype=x.dtype)[:, None] * frequencies for size in (rows, columns)
    )
    angles = torch.cat((row[:, None].expand(-1, columns, -1), column[None].expand(rows, -1, -1)), -1)  # H, W, C / 2
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((first * cos - second * sin, first * sin + second * cos), -1).flatten(-2)


def by_head(x: Tensor, num_heads: int) -> Tensor:
    """B, H, W, C -> B, heads, H W, d."""
    return x.flatten(1, 2).unflatten(-1, (num_heads, -1)).transpose(1, 2)


def as_map(x: Tensor, like: Tensor) -> Tensor:
    """B, heads, H W, d -> B, H, W, C with the B, H, W of `like`."""
    return x.transpose(1, 2).flatten(-2).unflatten(1, like.shape[1:3])
