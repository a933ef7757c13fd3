"""Agent attention: a few agents, pooled from the queries, attend to every pixel, and every pixel to the agents.

Source: Han et al., "Agent Attention: On the Integration of Softmax and Linear Attention", arXiv:2312.08874, section 3;
official code LeapLabTHU/Agent-Attention.
Differences: none in numbers at the sizes that the authors build for. The authors' biases of rows and columns have the
map's size: here they are tables of `table_size`, interpolated for maps of other sizes.
Cost: H W (4 C^2 + 4 n C + 9 C) with n = agents^2, and the interpolation of the biases.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .interpolation import interpolated, interpolation_macs
from .kernels.depthwise import DepthwiseConv2d
from .kernels.linear import Linear
from .registry import register

BIAS_SIZE = 7
"""Side of the tables of biases that serve maps of any size, in pixels."""


@register("agent_attention")
class AgentAttention(Mixer):
    """Multi-head attention through agents, plus a depth-wise convolution of the values. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
        pool_size: side of the square of agents, to which the queries are pooled. The authors' by stage, unless it is
            given.
        table_size: length of the tables of biases of rows and of columns. The map's side at 224 pixels, unless it is
            given.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        pool_size: int = 7,
        table_size: int = 14,
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(pool_size >= 1, "pool_size", pool_size, "must be at least 1")
        require(table_size >= 1, "table_size", table_size, "must be at least 1")
        self.num_heads = num_heads
        self.pool_size = pool_size
        self.qkv = Linear(dim, 3 * dim)
        self.agents_bias = PositionBias(num_heads, pool_size**2, table_size)
        self.pixels_bias = PositionBias(num_heads, pool_size**2, table_size)
        self.dwconv = DepthwiseConv2d(dim, 3)
        self.proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        heads = largest_divisor(dim, at_most=dim // 32)
        return {"num_heads": heads, "pool_size": (3, 4, 7, 7)[stage], "table_size": (56, 28, 14, 7)[stage]}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def resize(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        if not key.endswith(("_bias.rows", "_bias.columns")) or tensor.ndim != 3 or tensor.shape[2:] != shape[2:]:
            return super().resize(key, tensor, shape)
        return interpolated(tensor, *shape[:2])

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[1:3]
        q, k, v = self.qkv(x).chunk(3, -1)
        agents = F.adaptive_avg_pool2d(q.permute(0, 3, 1, 2), self.pool_size).permute(0, 2, 3, 1)
        # All of it: only for a gradient laid out anew. Attention may leave it channels first, and pooling would hand
        # that on to the whole map.
        agents = agents.narrow(1, 0, self.pool_size)
        queries, keys, values, agents = (self._by_head(each) for each in (q, k, v, agents))
        of_agents = self.agents_bias(rows, columns).to(q.dtype)
        of_pixels = self.pixels_bias(rows, columns).to(q.dtype).transpose(-1, -2)
        gathered = F.scaled_dot_product_attention(agents, keys, values, attn_mask=of_agents)
        mixed = F.scaled_dot_product_attention(queries, agents, gathered, attn_mask=of_pixels)
        return self.proj(mixed.transpose(1, 2).reshape(v.shape) + self.dwconv(v))

    def _by_head(self, x: Tensor) -> Tensor:
        """B, H, W, C -> B, heads, H W, d."""
        return x.flatten(1, 2).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def macs(self, resolution: tuple[int, int]) -> int:
        per_pixel = 4 * self.dim**2 + 4 * self.pool_size**2 * self.dim + 9 * self.dim
        biases = self.agents_bias.macs(resolution) + self.pixels_bias.macs(resolution)
        return resolution[0] * resolution[1] * per_pixel + biases

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)


class PositionBias(nn.Module):
    """A bias for each head, agent and pixel: a small table of the whole map's, one of its rows and one of its columns.

    Stored as maps of heads * agents channels: grid 7, 7, C; rows L, 1, C; columns 1, L, C with L = table_size.
    """

    def __init__(self, num_heads: int, agents: int, table_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.grid = nn.Parameter(torch.empty(BIAS_SIZE, BIAS_SIZE, num_heads * agents))
        self.rows = nn.Parameter(torch.empty(table_size, 1, num_heads * agents))
        self.columns = nn.Parameter(torch.empty(1, table_size, num_heads * agents))
        for table in self.parameters():
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, rows: int, columns: int) -> Tensor:
        """heads, agents, rows * columns."""
        lines = interpolated(self.rows, rows, 1) + interpolated(self.columns, 1, columns)
        bias = interpolated(self.grid, rows, columns) + lines
        return bias.flatten(0, 1).unflatten(-1, (self.num_heads, -1)).permute(1, 2, 0)

    def macs(self, resolution: tuple[int, int]) -> int:
        rows, columns = resolution
        wanted = {self.grid: resolution, self.rows: (rows, 1), self.columns: (1, columns)}
        return sum(interpolation_macs(tuple(table.shape[:2]), size, table.shape[2]) for table, size in wanted.items())
