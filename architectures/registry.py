"""The networks of this project by name, told to timm as well.

A family is a table of rows, `{name: constructor arguments}`, and one callable that builds a network from a row:

    register_networks(DWNet, {"dwnet_tiny": {"dim": 96, ...}, ...}, first_conv="stem.conv", classifier="head")

After that `timm.create_model(name, ...)`, `timm.list_models(filter)`, `timm.list_models(module="dwnet")`,
`features_only=True` and `architectures.build_network(NetworkSpec(name))` know every row. What a caller passes wins over
the row. `NetworkSpec.options` may set the callable's keyword-only arguments, but those that the row sets.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from .backbone import Backbone
from .resizing import resized


@dataclass(frozen=True)
class Entry:
    """One network: how it is built, its row, and timm's description of its input and its outer layers."""

    build: Callable[..., Backbone]
    row: Mapping[str, Any]
    pretrained_cfg: Mapping[str, Any]

    @property
    def options(self) -> dict[str, Parameter]:
        """Keyword-only arguments of `build`."""
        parameters = signature(self.build, eval_str=True).parameters
        return {key: value for key, value in parameters.items() if value.kind is Parameter.KEYWORD_ONLY}


NETWORKS: dict[str, Entry] = {}

# Arguments of a network that do not decide which entries its weights have, or that timm adapts itself.
_OTHER = frozenset({"num_classes", "in_chans", "global_pool", "drop_rate", "drop_path_rate"})
# Those that are fields of a NetworkSpec; the others are its options.
_FIELDS = frozenset({"img_size", "mixer_options", "budget", "dims", "depths"})


def pretrained_cfg(**changes: Any) -> dict[str, Any]:
    """timm's description of a network evaluated on ImageNet-1k as the four papers do (bicubic 256, centre crop 224)."""
    return {
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "num_classes": 1000,
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "classifier": "head",
    } | changes


def register_networks(build: Callable[..., Backbone], rows: Mapping[str, Mapping[str, Any]], **cfg: Any) -> None:
    """Register every row of a family under its name, here and with timm.

    `build(**row, **caller's arguments)` makes the network; timm files it under the module that defines `build`.
    `cfg` are the family's entries of timm's `pretrained_cfg`: `first_conv` is required, the rest has defaults.

    Raises: ValueError when a name is taken.
    """
    module = sys.modules[build.__module__]
    description = pretrained_cfg(**cfg)
    # timm looks for its descriptions under this name, in the module of the function that it registers.
    module.default_cfgs = generate_default_cfgs(dict.fromkeys(rows, description)) | getattr(module, "default_cfgs", {})
    for name, row in rows.items():
        if name in NETWORKS:
            raise ValueError(f"network {name!r} is registered twice")
        NETWORKS[name] = Entry(build, row, description)
        setattr(module, name, register_model(_entrypoint(name, module.__name__)))


def _entrypoint(name: str, module: str) -> Callable[..., nn.Module]:
    """The function that timm calls for `name`; found by pickle as `module.name`."""

    def entrypoint(pretrained: bool = False, **arguments: Any) -> nn.Module:
        entry = NETWORKS[name]
        if pretrained:
            arguments |= _official_weights_for(name, entry, arguments)
        return build_with_timm(name, entry.build, dict(entry.row) | arguments, pretrained=pretrained)

    entrypoint.__name__ = entrypoint.__qualname__ = name
    entrypoint.__module__ = module
    entrypoint.__doc__ = f"The network {name}; see {module}."
    return entrypoint


def _official_weights_for(name: str, entry: Entry, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What tells timm to load the authors' release: the file in our cache, and how it becomes our state dict.

    timm then adapts the first convolution to other input channels and leaves out the classifier of other classes. A
    `pretrained_cfg` or overlay of the caller's own wins, with weights under the authors' names or ours.
    """
    from .checkpoints import convert, official_weights  # which build networks, and so import this module

    options = {key: arguments[key] for key in (arguments.keys() & entry.options.keys()) - _OTHER - _FIELDS}
    fields = {key: arguments[key] for key in arguments.keys() & _FIELDS if arguments[key] is not None}

    def ours(state_dict: dict[str, Any], network: nn.Module) -> dict[str, Any]:
        if network.state_dict().keys() <= state_dict.keys():
            return resized(network, state_dict)
        return convert(name, state_dict, options=options, **fields)

    if any(arguments.get(key) for key in ("pretrained_cfg", "pretrained_cfg_overlay")):
        return {"pretrained_filter_fn": ours}
    file = str(official_weights(name, options=options))
    return {"pretrained_cfg_overlay": {"file": file}, "pretrained_filter_fn": ours}


def build_with_timm(
    name: str,
    build: Callable[..., Backbone],
    arguments: Mapping[str, Any],
    pretrained: bool = False,
) -> nn.Module:
    """`build(**arguments)` with what timm adds: `pretrained_cfg`, and the wrapper for `features_only=True`."""
    feature_cfg = {"out_indices": (0, 1, 2, 3), "feature_cls": "getter"}
    return build_model_with_cfg(build, name, pretrained, feature_cfg=feature_cfg, **arguments)
