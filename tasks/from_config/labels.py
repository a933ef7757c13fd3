"""What a cell's networks are called, from its configuration alone."""

from collections.abc import Mapping
from typing import Any


def candidate_labels(config: Mapping[str, Any]) -> list[str]:
    """The cell's own network or mixer, if it has one, and those that it is compared with."""
    own = [network_label(config)] if has_its_own(config) else []
    return [*own, *config["task"].get("compare", ())]


def has_its_own(config: Mapping[str, Any]) -> bool:
    """Whether the configuration names a network or mixer besides those in `task.compare`."""
    network = config["network"]
    return network["name"] != "unified" or bool(network["mixers"] or config["mixer"])


def network_label(config: Mapping[str, Any]) -> str:
    """The mixer of a unified network, or its four mixers, or another network's own name."""
    network = config["network"]
    if network["name"] != "unified":
        return network["name"]
    return "+".join(network["mixers"]) if network["mixers"] else config["mixer"]["name"]
