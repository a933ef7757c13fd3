"""What a network costs, from its name alone."""

import torch

from analysis.complexity import Complexity, measure
from analysis.settings import CountingRule
from architectures import NetworkSpec, build_network


def describe(spec: NetworkSpec, rule: CountingRule = CountingRule.macs) -> Complexity:
    """Count the network that `spec` names, on the meta device: nothing is allocated."""
    with torch.device("meta"):
        network = build_network(spec)
    return measure(network, resolution=spec.img_size, in_chans=spec.in_chans, rule=rule)
