"""Focal modulation: each pixel's query is multiplied by a gated sum of ever wider surroundings, up to the whole map.

Source: Yang et al., "Focal Modulation Networks", arXiv:2203.11926, section 3.2; official code microsoft/FocalNet.
Differences: none in numbers, but the mean over the map is taken in at least float32, whatever the map's dtype. Levels
and windows are those of the authors' small receptive field (SRF); `focal_level=3` is their large one (LRF).
Cost: H W (4 C^2 + C (L + 1) + C (k_1^2 + ... + k_L^2)) with L = focal_level and k_l = focal_window + 2 (l - 1).
"""

import torch
from torch import Tensor, nn

from .contract import Mixer, require
from .initialization import truncated_normal_layers
from .kernels.depthwise import DepthwiseConv2d
from .kernels.gelu import gelu
from .kernels.linear import Linear
from .registry import register


@register("focal_modulation")
class FocalModulation(Mixer):
    """Query times a linear layer of gated contexts, then a linear layer. B, H, W, C -> B, H, W, C.

    Args:
        focal_level: number L of depth-wise convolutions, one after another; the mean of the last is one more context.
        focal_window: side of the first convolution's kernel, odd, in pixels; each further one is larger by 2.
        normalize_modulator: whether the sum of the contexts is divided by their number.
        post_norm: whether there is a layer norm before the last linear layer.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        focal_level: int = 2,
        focal_window: int = 3,
        normalize_modulator: bool = False,
        post_norm: bool = False,
    ) -> None:
        super().__init__(dim, resolution)
        require(focal_level >= 1, "focal_level", focal_level, "must be at least 1")
        require(focal_window >= 1 and focal_window % 2 == 1, "focal_window", focal_window, "must be odd and at least 1")
        self.kernel_sizes = [focal_window + 2 * level for level in range(focal_level)]
        self.normalize_modulator = normalize_modulator
        self.input_proj = Linear(dim, 2 * dim + focal_level + 1)
        self.contexts = nn.ModuleList(DepthwiseConv2d(dim, size, bias=False) for size in self.kernel_sizes)
        self.modulator_proj = Linear(dim, dim)
        self.norm = nn.LayerNorm(dim) if post_norm else nn.Identity()
        self.output_proj = Linear(dim, dim)

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        levels = len(self.contexts)
        query, context, gates = self.input_proj(x).split((self.dim, self.dim, levels + 1), -1)
        gates = gates.split(1, -1)
        modulator = torch.zeros_like(query)
        for convolution, gate in zip(self.contexts, gates[:-1], strict=True):
            context = gelu(convolution(context))
            modulator = modulator + context * gate
        precise = torch.promote_types(context.dtype, torch.float32)
        whole = gelu(context.mean((1, 2), keepdim=True, dtype=precise)).to(context.dtype)
        modulator = modulator + whole * gates[-1]
        if self.normalize_modulator:
            modulator = modulator / (levels + 1)
        return self.output_proj(self.norm(query * self.modulator_proj(modulator)))

    def macs(self, resolution: tuple[int, int]) -> int:
        taps = sum(size**2 for size in self.kernel_sizes)
        per_pixel = 4 * self.dim**2 + self.dim * (len(self.kernel_sizes) + 1) + self.dim * taps
        return resolution[0] * resolution[1] * per_pixel

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)
