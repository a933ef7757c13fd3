"""Every mixer and every family of networks at a size at which a forward pass takes milliseconds."""

from collections.abc import Callable

import torch
from torch import nn

from architectures.conformer import Conformer
from architectures.contnet import ConTNet
from architectures.dwnet import DWNet
from architectures.unified import UnifiedBackbone
from mixers import MIXERS

CLASSES = 10


def unified(mixer: str, **options: object) -> nn.Module:
    return UnifiedBackbone(
        mixers=(mixer,) * 4,
        dims=(16, 16, 32, 32),
        depths=(2, 1, 2, 1),
        budget="shape",
        mixer_options=options,
        published_options={},
        mlp_ratio=(2, 2, 2, 2),
        norm_eps=1e-6,
        position_embedding=mixer == "sra",
        layer_scale_init=0.5,
        num_classes=CLASSES,
        img_size=(64, 64),
    )


def contnet(**options: object) -> nn.Module:
    windows = ((7, 14), (7, 14), (4, 4), (2, 2))
    return ConTNet(dim=16, depths=(1,) * 4, hidden_dims=(32,) * 4, window_sizes=windows, num_classes=CLASSES, **options)


def dwnet(mixer: str, **options: object) -> nn.Module:
    return DWNet(dim=16, depths=(1,) * 4, mixer=mixer, mixer_options=options, num_classes=CLASSES)


def conformer() -> nn.Module:
    return Conformer(channel_ratio=1, token_dim=32, num_heads=2, patch_size=16, num_classes=CLASSES)


STANDING_FOR_ALL = (
    *("halo", "sra", "shifted_window", "depthwise_conv", "dynamic_depthwise_conv", "dcnv3"),
    *("inhomogeneous_dynamic_depthwise_conv", "identity", "pooling", "global_attention"),
)
"""The mixers with which a longer test of networks is made by default; the slow run takes all."""

SMALL: dict[str, Callable[[], nn.Module]] = {
    **{mixer: lambda mixer=mixer: unified(mixer) for mixer in sorted(MIXERS)},
    "halo query-free": lambda: unified("halo", relative_embedding="query_free"),
    "contnet": contnet,
    "contnet relative": lambda: contnet(relative_position_bias=True),
    "dwnet": lambda: dwnet("depthwise_conv"),
    "dynamic dwnet": lambda: dwnet("dynamic_depthwise_conv"),
    "inhomogeneous dwnet": lambda: dwnet("inhomogeneous_dynamic_depthwise_conv", group_channels=(4,) * 4),
    "conformer": conformer,
}


def small_network(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return SMALL[name]()


def images(count: int = 4, side: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
