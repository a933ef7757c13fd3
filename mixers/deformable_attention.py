"""Deformable attention: every pixel attends to a few points of the map, which move to where the map asks for them.

Source: Xia et al., "Vision Transformer with Deformable Attention" (DAT), arXiv:2201.00520, section 3.2; official code
LeapLabTHU/DAT, with the options of each stage of its DAT++ (arXiv:2309.01430), where this mixer alternates with
neighbourhood attention. Positions are rows and columns from -1, the first pixel of the map, to 1, its last.
Differences: the table of relative positions has a size of its own and is stretched over maps of any other, as the
authors' sampling would do; a single row or column of pixels or points lies at 0, where the authors divide by zero; the
convolution is padded with kernel_size // 2 zeros also where kernel_size equals stride.
Cost: N (2 C^2 + 2 M C + 4 h M) + M (2 C^2 + k^2 C + 6 C) with N = H W, h heads, k = kernel_size and M = ceil(H / s)
ceil(W / s) points, s = stride. The terms with 4 and 6 contain what bilinear interpolation costs.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .kernels.gelu import gelu
from .kernels.linear import Linear
from .registry import register


@register("deformable_attention")
class DeformableAttention(Mixer):
    """Multi-head attention to sampled points, with a sampled relative bias. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: attention heads. Divides dim.
        groups: groups of channels whose points move alike. Divides num_heads.
        stride: rows and columns of pixels between the reference points, from which points move.
        table_size: side of the map whose relative positions the table has an entry for each, in pixels.
        kernel_size: side of the depth-wise convolution that offsets are computed from, odd, in pixels; in a network 9,
            7, 5 and 3 by stage, unless it is given.
        offset_range: how far points may move, in halves of the distance between reference points; None: anywhere on
            the map.
        reference_points: "cell_centres" (of as many equal cells of the map; pixels, too, are cells where the bias is
            looked up; the authors' code of 2022) or "stretched" (their code since commit 2f31405, which divides by one
            cell less: the last points of a row or column lie outside of the map unless they move).
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        num_heads: int,
        groups: int,
        stride: int,
        table_size: int,
        kernel_size: int = 5,
        offset_range: float | None = None,
        reference_points: str = "cell_centres",
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(groups >= 1 and num_heads % groups == 0, "groups", groups, f"must divide num_heads={num_heads}")
        require(stride >= 1, "stride", stride, "must be at least 1")
        require(kernel_size >= 1 and kernel_size % 2 == 1, "kernel_size", kernel_size, "must be odd and at least 1")
        require(table_size >= 2, "table_size", table_size, "must be at least 2")  # one entry would be no bias
        require(offset_range is None or offset_range > 0, "offset_range", offset_range, "must be positive or None")
        choices = ("cell_centres", "stretched")
        require(reference_points in choices, "reference_points", reference_points, f"must be one of {choices}")
        self.num_heads = num_heads
        self.groups = groups
        self.stride = stride
        self.offset_range = offset_range
        self.reference_points = reference_points
        # Shared by the groups.
        width = dim // groups
        self.offset_conv = nn.Conv2d(width, width, kernel_size, stride, padding=kernel_size // 2, groups=width)
        self.offset_norm = nn.LayerNorm(width)
        self.offset_proj = Linear(width, 2, bias=False)
        # All keep PyTorch's initial weights: the authors' loop, which is to draw others, finds no layer.
        self.q = Linear(dim, dim)
        self.kv = Linear(dim, 2 * dim)
        self.proj = Linear(dim, dim)
        self.rpe_table = nn.Parameter(torch.empty(num_heads, 2 * table_size - 1, 2 * table_size - 1))
        nn.init.trunc_normal_(self.rpe_table, std=0.01)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        num_heads = given.get("num_heads", largest_divisor(dim, at_most=dim // 32))
        return {
            "num_heads": num_heads,
            "groups": largest_divisor(num_heads, at_most=(1, 2, 4, 8)[stage]),
            "stride": (8, 4, 2, 1)[stage],
            "kernel_size": (9, 7, 5, 3)[stage],
            "table_size": (56, 28, 14, 7)[stage],
        }

    def no_weight_decay(self) -> set[str]:
        return {"rpe_table"}

    def resize(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        if key != "rpe_table" or tensor.ndim != 3 or tensor.shape[0] != shape[0]:
            return super().resize(key, tensor, shape)
        return F.interpolate(tensor[None], shape[1:], mode="bicubic", align_corners=False)[0]

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns, dim = x.shape
        q = self.q(x)
        points = self._points(q)
        by_group = x.unflatten(-1, (self.groups, -1)).permute(0, 3, 4, 1, 2).flatten(0, 1)
        sampled = _sampled(by_group, points).to(x.dtype)  # B groups, C / groups, H', W'
        sampled = sampled.flatten(2).unflatten(0, (batch, self.groups)).flatten(1, 2).transpose(1, 2)  # B, M, C
        k, v = self.kv(sampled).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q = q.flatten(1, 2).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        bias = self._bias(rows, columns, points).to(q.dtype)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(x.transpose(1, 2).reshape(batch, rows, columns, dim))

    def _points(self, q: Tensor) -> Tensor:
        """B groups, H', W', 2: row and column of every point, in at least float32."""
        # On the map as it is: groups among the images would have compiled code choose a convolution by their number.
        shared = self.offset_conv.weight.repeat(self.groups, 1, 1, 1), self.offset_conv.bias.repeat(self.groups)
        padding = self.offset_conv.padding
        seen = F.conv2d(q.permute(0, 3, 1, 2), *shared, stride=self.stride, padding=padding, groups=self.dim)
        seen = seen.permute(0, 2, 3, 1).unflatten(-1, (self.groups, -1))  # B, H', W', groups, C / groups
        offsets = self.offset_proj(gelu(self.offset_norm(seen))).permute(0, 3, 1, 2, 4).flatten(0, 1)
        offsets = offsets.to(torch.promote_types(offsets.dtype, torch.float32))
        counts = offsets.shape[1:3]
        reference = [2 * torch.arange(count, dtype=offsets.dtype, device=offsets.device) + 1 for count in counts]
        reference = [place / self._cells(count) - 1 for place, count in zip(reference, counts, strict=True)]
        reference = torch.stack(torch.meshgrid(*reference, indexing="ij"), -1)
        if self.offset_range is None:
            return (reference + offsets).clamp(-1, 1)
        row, column = (offsets.tanh() * self.offset_range).unbind(-1)
        return reference + torch.stack((row / self._cells(counts[0]), column / self._cells(counts[1])), -1)

    def _cells(self, count: int) -> int:
        return count if self.reference_points == "cell_centres" else max(count - 1, 1)

    def _bias(self, rows: int, columns: int, points: Tensor) -> Tensor:
        """B, heads, N, M: from the table, at half of the way from each point to each pixel."""
        places = [torch.arange(size, dtype=points.dtype, device=points.device) for size in (rows, columns)]
        # Centres of cells, or from the map's first pixel to its last.
        places = [(2 * place - (len(place) - 1)) / self._cells(len(place)) for place in places]
        pixels = torch.stack(torch.meshgrid(*places, indexing="ij"), -1).flatten(0, 1)
        ways = (pixels[:, None] - points.flatten(1, 2)[:, None]) / 2  # B groups, N, M, 2
        batch = points.shape[0] // self.groups
        tables = self.rpe_table.unflatten(0, (self.groups, -1)).expand(batch, -1, -1, -1, -1).flatten(0, 1)
        return _sampled(tables, ways).unflatten(0, (batch, self.groups)).flatten(1, 2)

    def macs(self, resolution: tuple[int, int]) -> int:
        pixels = resolution[0] * resolution[1]
        points = -(-resolution[0] // self.stride) * -(-resolution[1] // self.stride)
        of_pixels = 2 * self.dim**2 + 2 * points * self.dim + 4 * self.num_heads * points
        of_points = 2 * self.dim**2 + self.offset_conv.kernel_size[0] ** 2 * self.dim + 6 * self.dim
        return pixels * of_pixels + points * of_points

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        # The query decides about points and shares, and a point may lie anywhere.
        return torch.ones(resolution, dtype=torch.bool)


def _sampled(maps: Tensor, places: Tensor) -> Tensor:
    """B, C, H, W; B, H', W', 2: rows and columns -> B, C, H', W' in the dtype of `places`, zeros outside."""
    grid = places.flip(-1)  # PyTorch has the column first.
    return F.grid_sample(maps.to(places.dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=True)
