"""The networks of the registry as test parameters: the smallest of each kind by default, all in the slow run."""

import pytest
import torch
from torch import Tensor

from architectures import list_networks
from architectures.network import TIMM_NETWORKS

OURS = [name for name in list_networks() if name not in TIMM_NETWORKS]
SMALLEST = [name for name in OURS if "_micro" in name or ("_tiny" in name and not name.startswith("unified_"))]
NETWORKS = [pytest.param(name, marks=() if name in SMALLEST else pytest.mark.slow) for name in OURS]


def image(size: tuple[int, int], batch: int = 2) -> Tensor:
    """The same standard-normal images B, 3, H, W every time."""
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))


def logits(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """What a network returns in training, which may be the logits of several heads, as one tensor."""
    return output if isinstance(output, Tensor) else torch.cat(output)
