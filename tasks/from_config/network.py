"""From a cell's configuration to the network that it names."""

from collections.abc import Mapping, Sequence
from typing import Any

from architectures import NetworkSpec
from architectures.budget import published_variants

from ..registry import task_of


def network_spec(config: Mapping[str, Any]) -> NetworkSpec:
    """The network of a plain configuration, for its data's image size and number of classes."""
    network, data = config["network"], config["data"]
    common: dict[str, Any] = {
        "name": network["name"],
        "options": {option: value for option, value in network["options"].items() if value is not None},
        "num_classes": data["num_classes"],
        "img_size": (data["resolution"], data["resolution"]),
        "drop_path_rate": config["recipe"]["drop_path_rate"] if task_of(config).learns else None,
    }
    if network["name"] != "unified":
        return NetworkSpec(**common)
    options = dict(config["mixer"] or {})
    name = options.pop("name", None)
    mixer = tuple(network["mixers"]) if network["mixers"] else name
    return NetworkSpec(
        **common,
        mixer=mixer,
        scale=config["scale"],
        mixer_options={
            option: tuple(value) if isinstance(value, list) else value
            for option, value in options.items()
            if value is not None
        },
        budget=_budget(network, mixer, config["scale"]),
        dims=_tuple(network.get("dims")),
        depths=_tuple(network.get("depths")),
    )


def _budget(network: Mapping[str, Any], mixer: str | tuple[str, ...], scale: str) -> str | None:
    """A configuration from before there were rules has no dims: then a published row won over every budget."""
    if "dims" in network:
        return network["budget"]
    mixers = (mixer,) * 4 if isinstance(mixer, str) else mixer
    return None if scale in published_variants(mixers) else network["budget"]


def _tuple(values: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)
