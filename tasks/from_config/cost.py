"""What a network costs, from its name alone."""

from collections.abc import Mapping
from typing import Any

import torch

from analysis.complexity import Complexity, measure
from analysis.settings import CountingRule
from architectures import NetworkSpec, build_network
from architectures.unified import UnifiedBackbone

from ..task import Results


def with_costs(spec: NetworkSpec, results: Mapping[str, Any] | None = None) -> Results:
    """A task's results beside what every record says of its network."""
    return {"results": totals(describe(spec)) | dict(results or {}), "details": {"network": size_of(spec)}}


def totals(complexity: Complexity) -> dict[str, int]:
    return {"params": complexity.params, "macs": complexity.macs, "activations": complexity.activations}


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
