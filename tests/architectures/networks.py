"""The networks of the registry as test parameters: the smallest of each kind by default, more in the slow run.

What a unified network does as a timm model does not depend on its mixer, whose own promises tests/mixers/ checks. So
the paper's mixers and the controls stand for all by default; the slow run has every mixer at scale micro, and the
networks with published rows at every scale. (A scale is a row of widths and depths.)
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from architectures import list_networks
from architectures.network import TIMM_NETWORKS
from mixers import MIXERS, Mixer, register
from mixers.dynamic_depthwise_conv import DynamicDepthwiseConv

from ..mixers.plain import PLAIN

STANDING_FOR_ALL = (
    *("halo", "pvt", "swin", "convnext", "dcn_v3"),
    *("dynamic_depthwise_conv", "inhomogeneous_dynamic_depthwise_conv", "identity", "pooling", "global_attention"),
)
PUBLISHED = STANDING_FOR_ALL[:5]
OURS = [
    name
    for name in list_networks()
    if name not in TIMM_NETWORKS
    and (not name.startswith("unified_") or name.endswith("_micro") or name[8:].rpartition("_")[0] in PUBLISHED)
]
SMALLEST = [
    name
    for name in OURS
    if ("_tiny" in name and not name.startswith("unified_"))
    or name in [f"unified_{kind}_micro" for kind in STANDING_FOR_ALL]
]
NETWORKS = [pytest.param(name, marks=() if name in SMALLEST else pytest.mark.slow) for name in OURS]


@contextmanager
def registered(name: str, mixer_class: type[Mixer]) -> Iterator[None]:
    """Inside, there is one mixer more."""
    register(name)(mixer_class)
    try:
        yield
    finally:
        del MIXERS[name]


def image(size: tuple[int, int], batch: int = 2) -> Tensor:
    """The same standard-normal images B, 3, H, W every time."""
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))


def logits(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """What a network returns in training, which may be the logits of several heads, as one tensor."""
    return output if isinstance(output, Tensor) else torch.cat(output)


@torch.no_grad()
def audible(network: nn.Module) -> nn.Module:
    """The network, in eval mode, as if trained: initial weights let the branches whisper (layer scales of 1e-6).

    Weights are noise over their fan-in, scales near 1, and batch norms have the statistics of one batch.
    """
    generator = torch.Generator().manual_seed(0)
    for key, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.copy_(noise / parameter[0].numel() ** 0.5)
        else:
            parameter.copy_(0.1 * noise + key.endswith(("weight", "gamma")))
    calm = {MIXERS[mixer]: plain.calm for mixer, plain in PLAIN.items()}
    for module in network.modules():
        if type(module) in calm:
            calm[type(module)](module)
    # Those of generated kernels see one value an image: statistics of four would be noise, and kernels enlarge it.
    generators = [module.bn for module in network.modules() if isinstance(module, DynamicDepthwiseConv)]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d) and module not in generators]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = 1.0
    network(image((64, 96), batch=4))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()
