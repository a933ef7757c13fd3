"""What a network costs, from its name alone."""

from typing import Any

import torch

from analysis.complexity import Complexity, measure
from analysis.settings import CountingRule
from architectures import NetworkSpec, build_network
from architectures.unified import UnifiedBackbone


def size_of(spec: NetworkSpec) -> dict[str, Any]:
    """Dims, depths and the rule that they are by (`budget`) of a unified network; nothing for others."""
    with torch.device("meta"):
        network = build_network(spec)
    if not isinstance(network, UnifiedBackbone):
        return {}
    return {"budget": network.budget, "dims": list(network.dims), "depths": list(network.depths)}


def describe(spec: NetworkSpec, rule: CountingRule = CountingRule.macs) -> Complexity:
    """Count the network that `spec` names, on the meta device: nothing is allocated."""
    with torch.device("meta"):
        network = build_network(spec)
    return measure(network, resolution=spec.img_size, in_chans=spec.in_chans, rule=rule)
