"""The block that surrounds every mixer: norm, mixer, norm, MLP, each branch scaled, dropped and added.

Source: Dai et al., "Demystify Transformers & Convolutions in Modern Image Deep Networks", arXiv:2211.05781, section 3.1
(official code OpenGVLab/STM-Evaluation, whose five copies of the block differ in what are options here).
"""

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from mixers import Mixer
from mixers.kernels.residual import residual

from .channels_last import channels_first, channels_last
from .mlp import MLP


class LayerScale(nn.Module):
    """One learned factor per channel of a branch, `gamma`, which the sum of the branch and its input applies."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), float(initial)))


def kept(drop_path: nn.Module, x: Tensor) -> Tensor | None:
    """Stochastic depth's factor of each image in `x`: B; None where all of them are 1."""
    if not drop_path.training or getattr(drop_path, "drop_prob", 0.0) == 0.0:
        return None
    return drop_path(x.new_ones(len(x), 1)).flatten()


class PositionEmbedding(nn.Module):
    """A learned vector per position, added to `B, H, W, C`; resized (bilinear, corners aligned) to other H and W."""

    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*resolution, dim))
        if not self.weight.is_meta:
            nn.init.trunc_normal_(self.weight, std=0.02)

    def resize(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        """The weight of another H and W; see `architectures.resizing`."""
        if tensor.ndim != 3 or tensor.shape[2:] != shape[2:]:
            raise ValueError(f"{key} has shape {tuple(tensor.shape)}, which is none of {shape[2]} channels")
        grid = channels_first(tensor[None]).contiguous()
        return channels_last(F.interpolate(grid, shape[:2], mode="bilinear", align_corners=True))[0].contiguous()

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[1:3]
        if size == self.weight.shape[:2]:
            return x + self.weight
        weight = channels_first(self.weight[None])
        return x + channels_last(F.interpolate(weight, size, mode="bilinear", align_corners=True))


class Block(nn.Module):
    """`B, H, W, C` -> `B, H, W, C`: x + scale(mixer(norm(x))), then x + scale(MLP(norm(x))).

    Args:
        norm_eps: of both norms.
        layer_scale_init: first value of the layer scales; none are built for 0 or less.
        drop_path: probability that a branch is dropped for an image, in training.
        position: added to the input of the mixer's branch, and to the residual too if `position_in_residual`.
    """

    def __init__(
        self,
        dim: int,
        mixer: Mixer,
        *,
        mlp_ratio: float,
        norm_eps: float,
        layer_scale_init: float,
        drop_path: float,
        position: PositionEmbedding | None = None,
        position_in_residual: bool = True,
    ) -> None:
        super().__init__()
        self.position = position
        self.position_in_residual = position_in_residual
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.mixer = mixer
        self.layer_scale1 = LayerScale(dim, layer_scale_init) if layer_scale_init > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = MLP(dim, mlp_ratio)
        self.layer_scale2 = LayerScale(dim, layer_scale_init) if layer_scale_init > 0 else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        mixed = x if self.position is None else self.position(x)
        if self.position_in_residual:
            x = mixed
        scales = [getattr(layer_scale, "gamma", None) for layer_scale in (self.layer_scale1, self.layer_scale2)]
        x = residual(x, self.mixer(self.norm1(mixed)), scales[0], kept(self.drop_path, x))
        return self.mlp(self.norm2(x), onto=x, scale=scales[1], keep=kept(self.drop_path, x))
