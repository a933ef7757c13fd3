"""DWNet: a Swin-shaped pyramid whose only spatial mixing is a 7x7 depth-wise convolution, static or dynamic.

Source: Han et al., "On the Connection between Local Attention and Dynamic Depth-wise Convolution", arXiv:2106.04263
(ICLR 2022), section 3 and table 1; official code Atten4Vis/DemystifyLocalViT. Three families differ in the mixer:
static (`dwnet`), one generated kernel per image and channel (`dynamic_dwnet`), one generated kernel per image, position
and group of channels (`i_dynamic_dwnet`).
Differences from the official code: maps stay `B, H, W, C`; a stage starts with the merging that ends the authors' stage
before it; any input size works, by the zero padding of the authors' detection backbone (to a multiple of 4 before the
patch embedding, to even sizes before merging). What else that backbone does differently comes with `detection=True`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath, calculate_drop_path_rates
from torch import Tensor, nn

from mixers import build_mixer
from mixers.contract import require
from mixers.kernels.linear import Linear

from .backbone import Backbone, Blocks
from .block import add_branch, add_mlp
from .channels_last import Pointwise, channels_first, channels_last, normed
from .initialization import truncated_normal
from .mixer_options import check_option_names, options_of_block
from .mlp import MLP
from .padding import pad_to_multiple
from .registry import register_networks

UNSCALED = nn.Identity()  # in place of a layer scale


class MixingLayer(nn.Module):
    """Spatial mixer between two pointwise convolutions, each of the three followed by batch norm. `B, H, W, C` kept.

    Pointwise, BN, ReLU, mixer, BN, ReLU, pointwise, BN: the norms are inside, so nothing normalises its input.
    """

    def __init__(self, dim: int, mixer: nn.Module) -> None:
        super().__init__()
        self.pointwise1 = Pointwise(dim, dim)
        self.norm1 = nn.BatchNorm2d(dim)
        self.mixer = mixer
        self.norm2 = nn.BatchNorm2d(dim)
        self.pointwise2 = Pointwise(dim, dim)
        self.norm3 = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(normed(self.norm1, self.pointwise1(x)), inplace=True)
        x = F.relu(normed(self.norm2, self.mixer(x)), inplace=True)
        return normed(self.norm3, self.pointwise2(x))


class DWNetBlock(nn.Module):
    """x + Mixing(x), then x + MLP(BN(x)). `B, H, W, C` kept.

    Args:
        size_divisor: the map is zero-padded to a multiple of it for the mixing layer, whose convolutions, norms and
            global pooling then see the padding as pixels; 1 pads nothing.
        drop_path: rate of both residual branches.
    """

    def __init__(self, dim: int, mixer: nn.Module, *, size_divisor: int, drop_path: float) -> None:
        super().__init__()
        self.size_divisor = size_divisor
        self.mixing = MixingLayer(dim, mixer)
        self.norm = nn.BatchNorm2d(dim)
        self.mlp = MLP(dim, 4)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        mixed = self.mixing(pad_to_multiple(x, self.size_divisor))[:, :height, :width]
        x = add_branch(x, mixed, UNSCALED, self.drop_path)
        return add_mlp(x, normed(self.norm, x), self.mlp, UNSCALED, self.drop_path)


class PatchEmbedding(nn.Module):
    """4x4 patches to tokens: image `B, in_chans, H, W` -> `B, ceil(H / 4), ceil(W / 4), dim`."""

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, dim, 4, stride=4)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = channels_last(x.contiguous(memory_format=torch.channels_last))
        return self.norm(channels_last(self.proj(channels_first(pad_to_multiple(x, 4)))))


class PatchMerging(nn.Module):
    """2x2 neighbours to one token of twice the width: `B, H, W, C` -> `B, ceil(H / 2), ceil(W / 2), 2C`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = pad_to_multiple(x, 2)
        phases = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(phases, dim=-1)))


class DWNet(Backbone):
    """Image `B, in_chans, H, W` of any size -> logits `B, num_classes`.

    Args:
        dim: width of the first stage; it doubles in each of the other three.
        depths: blocks of each stage.
        mixer: name of the spatial mixer, used without its projections.
        mixer_options: option of the mixer -> one value, or four, one a stage; see `mixer_options.options_of_block`.
        detection: the authors' detection backbone: blocks pad maps to a multiple of 7 (see `DWNetBlock`), and each map
            that leaves the network has a batch norm of its own, in place of the final layer norm. For segmentation its
            authors set drop_path_rate 0.3.
        drop_path_rate: of the last block; rates grow linearly from 0. None: the usual one, or that of the detection
            backbone.
        usual_drop_path_rate, detection_drop_path_rate: those of classification and of detection.

    Raises: ValueError naming the unknown or impossible mixer or option.
    """

    def __init__(
        self,
        *,
        dim: int,
        depths: tuple[int, int, int, int],
        mixer: str,
        mixer_options: Mapping[str, Any] | None = None,
        detection: bool = False,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float | None = None,
        usual_drop_path_rate: float = 0.0,
        detection_drop_path_rate: float = 0.0,
    ) -> None:
        if drop_path_rate is None:
            drop_path_rate = detection_drop_path_rate if detection else usual_drop_path_rate
        require(dim >= 1, "dim", dim, "must be at least 1")
        require(0 <= drop_path_rate < 1, "drop_path_rate", drop_path_rate, "must be at least 0 and less than 1")
        check_option_names([mixer], mixer_options or {})
        given = {**(mixer_options or {}), "projection": False}  # its own pointwise convolutions are around the mixer
        widths = tuple(dim * 2**stage for stage in range(4))
        drop_path_rates = calculate_drop_path_rates(drop_path_rate, depths, stagewise=True)
        stages = []
        for stage, (width, rates) in enumerate(zip(widths, drop_path_rates, strict=True)):
            blocks = []
            for block, rate in enumerate(rates):
                options = options_of_block(mixer, dim=width, stage=stage, block=block, given=given)
                mixing = build_mixer(mixer, width, (56 // 2**stage,) * 2, **options)
                blocks.append(DWNetBlock(width, mixing, size_divisor=7 if detection else 1, drop_path=rate))
            downsample = PatchMerging(widths[stage - 1]) if stage else nn.Identity()
            stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=Blocks(*blocks))))
        super().__init__(
            stem=PatchEmbedding(in_chans, dim),
            stages=stages,
            channels=widths,
            reductions=(4, 8, 16, 32),
            norm=None if detection else nn.LayerNorm(widths[-1]),
            num_classes=num_classes,
            in_chans=in_chans,
            global_pool=global_pool,
            drop_rate=drop_rate,
        )
        self.output_norms = nn.ModuleList(nn.BatchNorm2d(width) if detection else nn.Identity() for width in widths)
        for module in self.modules():
            # Linear layers inside a mixer stand for the authors' 1x1 convolutions, which keep PyTorch's initialisation.
            if isinstance(module, MLP):
                truncated_normal(module.fc1)
                truncated_normal(module.fc2)
            elif isinstance(module, PatchMerging):
                truncated_normal(module.reduction)

    def feature_map(self, state: Tensor, index: int) -> Tensor:
        return normed(self.output_norms[index], state)

    def final_state(self, state: Tensor) -> Tensor:
        return self.norm(self.feature_map(state, len(self.stages) - 1))

    @torch.jit.ignore
    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        taken = super().prune_intermediate_layers(indices, prune_norm, prune_head)
        self.output_norms = nn.ModuleList(
            norm if index in taken else nn.Identity() for index, norm in enumerate(self.output_norms)
        )
        return taken


TINY = {"dim": 96, "depths": (2, 2, 6, 2), "usual_drop_path_rate": 0.2, "detection_drop_path_rate": 0.2}
BASE = {"dim": 128, "depths": (2, 2, 18, 2), "usual_drop_path_rate": 0.5, "detection_drop_path_rate": 0.3}
INHOMOGENEOUS = "inhomogeneous_dynamic_depthwise_conv"
register_networks(
    DWNet,
    {
        "dwnet_tiny": TINY | {"mixer": "depthwise_conv"},
        "dwnet_base": BASE | {"mixer": "depthwise_conv"},
        "dynamic_dwnet_tiny": TINY | {"mixer": "dynamic_depthwise_conv"},
        "dynamic_dwnet_base": BASE | {"mixer": "dynamic_depthwise_conv"},
        "i_dynamic_dwnet_tiny": TINY | {"mixer": INHOMOGENEOUS},
        "i_dynamic_dwnet_base": BASE | {"mixer": INHOMOGENEOUS},
    },
    first_conv="stem.proj",
    origin_url="https://github.com/Atten4Vis/DemystifyLocalViT",
)
