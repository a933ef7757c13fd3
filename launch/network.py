"""From a cell's configuration to the network that it names."""

from collections.abc import Mapping
from typing import Any

from architectures import NetworkSpec

# Tasks whose networks learn, by the recipe's stochastic depth.
LEARNING = ("train", "loader")


def network_spec(config: Mapping[str, Any]) -> NetworkSpec:
    """The network of a plain configuration, for its data's image size and number of classes."""
    network, data = config["network"], config["data"]
    common: dict[str, Any] = {
        "name": network["name"],
        "options": {option: value for option, value in network["options"].items() if value is not None},
        "num_classes": data["num_classes"],
        "img_size": (data["resolution"], data["resolution"]),
        "drop_path_rate": config["recipe"]["drop_path_rate"] if config["task"]["name"] in LEARNING else None,
    }
    if network["name"] != "unified":
        return NetworkSpec(**common)
    options = dict(config["mixer"] or {})
    name = options.pop("name", None)
    return NetworkSpec(
        **common,
        mixer=tuple(network["mixers"]) if network["mixers"] else name,
        scale=config["scale"],
        mixer_options={
            option: tuple(value) if isinstance(value, list) else value
            for option, value in options.items()
            if value is not None
        },
        budget=network["budget"],
    )
