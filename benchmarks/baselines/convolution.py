"""The convolution mixers of the unified network in their straightforward form."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINTS = 9


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of `B, C, H, W`."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PermutedNorm(nn.Module):
    """`B, C, H, W` -> `B, H, W, C`, normed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1))


class DCNv3(nn.Module):
    """DCNv3 on `B, H, W, C`: 3 x 3 points, every sample of `grid_sample` in memory before they are summed."""

    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.dw_conv = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1, groups=dim), PermutedNorm(dim), nn.GELU())
        self.sampling_offsets = nn.Linear(dim, groups * POINTS * 2)
        self.attention_weights = nn.Linear(dim, groups * POINTS)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns, dim = x.shape
        groups = self.groups
        query = self.dw_conv(x.permute(0, 3, 1, 2))
        offsets = self.sampling_offsets(query).reshape(batch, rows * columns, groups, POINTS, 2)
        weights = self.attention_weights(query).reshape(batch, rows * columns, groups, POINTS).softmax(-1)
        value = F.pad(self.value_proj(x), (0, 0, 1, 1, 1, 1))
        size = torch.tensor((columns + 2, rows + 2), dtype=x.dtype, device=x.device)
        locations = (self.points(rows, columns, x) + offsets) / size  # 0 to 1 over the padded map
        grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # B * groups, H * W, points, 2
        maps = value.flatten(1, 2).transpose(1, 2).reshape(batch * groups, dim // groups, rows + 2, columns + 2)
        samples = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        shares = weights.transpose(1, 2).reshape(batch * groups, 1, rows * columns, POINTS)
        x = (samples * shares).sum(-1).reshape(batch, dim, rows * columns).transpose(1, 2)
        return self.output_proj(x.reshape(batch, rows, columns, dim))

    @staticmethod
    def points(rows: int, columns: int, like: Tensor) -> Tensor:
        """H * W, 1, points, 2: x and y of the points around each pixel before they are moved, on the padded map."""
        y, x = torch.meshgrid(
            torch.arange(rows, dtype=like.dtype, device=like.device) + 1.5,
            torch.arange(columns, dtype=like.dtype, device=like.device) + 1.5,
            indexing="ij",
        )
        step = torch.arange(-1, 2, dtype=like.dtype, device=like.device)
        steps = torch.stack(torch.meshgrid(step, step, indexing="ij"), -1).reshape(POINTS, 2)  # x is the slow index
        return torch.stack((x.flatten(), y.flatten()), -1)[:, None, None] + steps
