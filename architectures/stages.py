"""What surrounds the blocks of the unified network: stem, downsampling, stage, conv head.

Source: Dai et al., arXiv:2211.05781, section 3.1 (official code OpenGVLab/STM-Evaluation).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixers.kernels.gelu import gelu

from .backbone import Blocks
from .block import Block
from .channels_last import ChannelsLastConv2d, channels_last, normed

NORM_EPS = 1e-6
REDUCTIONS = (4, 8, 16, 32)
# Without downsampling all stages keep the stem's map, and only mixers reach further than its 7 x 7 pixels.
ISOTROPIC_REDUCTIONS = (4, 4, 4, 4)
HEAD_RATIO = 1.5


def stage_resolutions(
    img_size: tuple[int, int], reductions: tuple[int, int, int, int] = REDUCTIONS
) -> list[tuple[int, int]]:
    """H and W of the maps in the four stages."""
    return [(math.ceil(img_size[0] / reduction), math.ceil(img_size[1] / reduction)) for reduction in reductions]


class Stem(nn.Module):
    """Image `B, C, H, W` -> `B, H/4, W/4, dim`: two 3x3 convolutions of stride 2, each normed, GELU between."""

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__()
        self.conv1 = ChannelsLastConv2d(in_chans, dim // 2, 3, stride=2, padding=1)
        self.norm1 = nn.LayerNorm(dim // 2, eps=NORM_EPS)
        self.conv2 = ChannelsLastConv2d(dim // 2, dim, 3, stride=2, padding=1)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, image: Tensor) -> Tensor:
        # The only change of layout in the network, where it is cheapest: three channels.
        x = channels_last(image.contiguous(memory_format=torch.channels_last))
        x = gelu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(x))


class Downsample(nn.Module):
    """`B, H, W, C` -> `B, H/2, W/2, dim`: 3x3 convolution of stride 2, norm; halves are rounded up."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.conv = ChannelsLastConv2d(in_dim, dim, 3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Widen(nn.Module):
    """`B, H, W, C` -> `B, H, W, dim`: pixel by pixel a linear layer, norm. Stands where no downsampling is wanted."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_dim, dim, bias=False)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x))


class Stage(nn.Module):
    """Downsampling (identity in the first stage), blocks, norm (identity where outputs are normed instead)."""

    def __init__(self, downsample: nn.Module, blocks: Sequence[Block], norm: nn.Module) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = Blocks(*blocks)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.blocks(self.downsample(x)))


class ConvHead(nn.Module):
    """`B, H, W, C` -> `B, H, W, 1.5 C`: 1x1 convolution, batch norm, GELU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = int(HEAD_RATIO * dim)
        self.conv = ChannelsLastConv2d(dim, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)

    def forward(self, x: Tensor) -> Tensor:
        return gelu(normed(self.norm, self.conv(x)))
