"""Global attention: every pixel attends to every pixel. A control: the most that attention can see, at quadratic cost.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words" (ViT), arXiv:2010.11929, eq. 6 and appendix A; official code
google-research/vision_transformer. Differences: the four projections have biases, as in common PyTorch versions.
Cost: H W (4 C^2 + 2 H W C).
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.linear import Linear
from .registry import register


@register("global_attention")
class GlobalAttention(Mixer):
    """Multi-head self-attention over all pixels. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
    """

    def __init__(self, dim: int, resolution: tuple[int, int], *, num_heads: int) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        self.num_heads = num_heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"num_heads": largest_divisor(dim, at_most=dim // 32)}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns, dim = x.shape
        qkv = self.qkv(x).reshape(batch, rows * columns, 3, self.num_heads, dim // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, rows, columns, dim))

    def macs(self, resolution: tuple[int, int]) -> int:
        pixels = resolution[0] * resolution[1]
        return pixels * (4 * self.dim**2 + 2 * pixels * self.dim)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)
