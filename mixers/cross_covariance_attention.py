"""Cross-covariance attention: channels attend to channels, by what they have in common over the whole map.

Source: El-Nouby et al., "XCiT: Cross-Covariance Image Transformers", arXiv:2106.09681, section 3.2, and 3.3 for the
local part; official code facebookresearch/xcit.
Differences: none in numbers. Attention over channels does not know where a pixel lies; in XCiT that comes from the
local patch interaction, a residual branch of its own with a norm of its own. Here it is an option of the mixer, off by
default, and follows the attention without a residual or norm between.
Cost: H W (4 C^2 + 2 d C) with d = C / num_heads; 18 H W C more with `local`.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.depthwise import DepthwiseConv2d
from .kernels.gelu import gelu
from .kernels.linear import Linear
from .registry import register


@register("cross_covariance_attention")
class CrossCovarianceAttention(Mixer):
    """Attention of d x d channels in each head, from the covariance of queries and keys. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
        qkv_bias: whether queries, keys and values have a bias.
        local: whether the local patch interaction follows: two 3 x 3 depth-wise convolutions, GELU and batch norm
            between.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        qkv_bias: bool = True,
        local: bool = False,
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        self.num_heads = num_heads
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.proj = Linear(dim, dim)
        self.local = LocalPatchInteraction(dim) if local else nn.Identity()

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"num_heads": largest_divisor(dim, at_most=dim // 32)}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def no_weight_decay(self) -> set[str]:
        return {"temperature"}

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns, dim = x.shape
        qkv = self.qkv(x).reshape(batch, rows * columns, 3, self.num_heads, dim // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 4, 1)  # B, heads, d, H W each
        # Norms over a whole map overflow float16. What is normalised may have 16 bits again: the product adds in 32.
        precise = torch.promote_types(v.dtype, torch.float32)
        q, k = (F.normalize(each.to(precise), dim=-1).to(v.dtype) for each in (q, k))
        logits = (q @ k.transpose(-2, -1)).to(precise) * self.temperature
        x = logits.softmax(-1).to(v.dtype) @ v
        return self.local(self.proj(x.permute(0, 3, 1, 2).reshape(batch, rows, columns, dim)))

    def macs(self, resolution: tuple[int, int]) -> int:
        per_pixel = 4 * self.dim**2 + 2 * self.dim**2 // self.num_heads
        if isinstance(self.local, LocalPatchInteraction):
            per_pixel += 2 * 9 * self.dim
        return resolution[0] * resolution[1] * per_pixel

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)


class LocalPatchInteraction(nn.Module):
    """XCiT's LPI: depth-wise 3 x 3, GELU, batch norm, depth-wise 3 x 3. B, H, W, C -> B, H, W, C."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = DepthwiseConv2d(dim, 3)
        self.bn = nn.BatchNorm2d(dim)
        self.conv2 = DepthwiseConv2d(dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = gelu(self.conv1(x)).permute(0, 3, 1, 2)
        return self.conv2(self.bn(x).permute(0, 2, 3, 1))
