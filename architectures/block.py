"""The block that surrounds every mixer: norm, mixer, norm, MLP, each branch scaled, dropped and added.

Source: Dai et al., "Demystify Transformers & Convolutions in Modern Image Deep Networks", arXiv:2211.05781, section 3.1
(official code OpenGVLab/STM-Evaluation, whose five copies of the block differ in what are options here).
"""

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from mixers import Mixer
from mixers.kernels.as_built import is_as_built
from mixers.kernels.residual import residual

from .channels_last import channels_first, channels_last
from .mlp import MLP


class LayerScale(nn.Module):
    """One learned factor per channel of a branch, `gamma`."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), float(initial)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def add_branch(x: Tensor, branch: Tensor, layer_scale: nn.Module, drop_path: nn.Module) -> Tensor:
    """x + drop_path(layer_scale(branch)), in one pass where both are what blocks build."""
    if not _are_factors(layer_scale, drop_path):
        return x + drop_path(layer_scale(branch))
    return residual(x, branch, *_factors(layer_scale, drop_path, x))


def add_mlp(x: Tensor, normed: Tensor, mlp: nn.Module, layer_scale: nn.Module, drop_path: nn.Module) -> Tensor:
    """x + drop_path(layer_scale(mlp(normed))), in few passes where all of them are what blocks build."""
    if not (is_as_built(mlp, MLP) and _are_factors(layer_scale, drop_path)):
        return add_branch(x, mlp(normed), layer_scale, drop_path)
    return mlp.added_to(x, normed, *_factors(layer_scale, drop_path, x))


def _are_factors(layer_scale: nn.Module, drop_path: nn.Module) -> bool:
    """Whether both only multiply, by numbers that need no call to be known: nothing wrapped, hooked or replaced."""
    return is_as_built(layer_scale, LayerScale, nn.Identity) and is_as_built(drop_path, DropPath, nn.Identity)


def _factors(layer_scale: nn.Module, drop_path: nn.Module, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Layer scale's factor of each channel, C, and stochastic depth's of each image in `x`, B; None where all are 1."""
    drops = isinstance(drop_path, DropPath) and drop_path.training and drop_path.drop_prob > 0
    keep = drop_path(x.new_ones(len(x), 1)).flatten() if drops else None
    return getattr(layer_scale, "gamma", None), keep


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
        x = add_branch(x, self.mixer(self.norm1(mixed)), self.layer_scale1, self.drop_path)
        return add_mlp(x, self.norm2(x), self.mlp, self.layer_scale2, self.drop_path)
