"""Which network: one value that names it completely, and the function that builds it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from inspect import formatannotation
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import timm
import torch
from torch import nn

from mixers.contract import require

from .place import place_of
from .registry import NETWORKS, Entry, build_with_timm
from .stages import stage_resolutions
from .unified import UNIFIED, UnifiedBackbone

# Networks that papers compare with; timm's own, under timm's names.
TIMM_NETWORKS = (
    "resnet18",
    "resnet50",
    "resnet101",
    "deit_tiny_patch16_224",
    "deit_small_patch16_224",
    "deit_base_patch16_224",
)
# Where timm's description is not what the authors did: DeiT's code enlarges the shorter side to 256 pixels.
AUTHORS_CROP_PCT = dict.fromkeys(("deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224"), 0.875)


@dataclass(frozen=True)
class NetworkSpec:
    """A network, completely named.

    Attributes:
        name: "unified" (then `mixer` and `scale` say which), or any name of `list_networks()`.
        mixer: a registered mixer, or four of them, one a stage.
        scale: micro, tiny, small or base.
        mixer_options: option of the mixer -> one value, or four, one a stage.
        budget: the rule by which the unified network's dims and depths are found; see `architectures.budget`.
        dims, depths: of the unified network's four stages, instead of those that the rule finds.
        options: the network's own options, e.g. `layer_scale_init`.
        img_size: height and width in pixels; sizes tables, where the network has any.
        drop_path_rate: of the last block; None is the published one.
    """

    name: str = "unified"
    mixer: str | tuple[str, str, str, str] | None = None
    scale: str | None = None
    mixer_options: Mapping[str, Any] = field(default_factory=dict)
    budget: str | None = None
    dims: tuple[int, int, int, int] | None = None
    depths: tuple[int, int, int, int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int = 1000
    in_chans: int = 3
    img_size: tuple[int, int] = (224, 224)
    drop_path_rate: float | None = None

    def at(self, resolution: int) -> "NetworkSpec":
        """The same network for square images of `resolution` pixels."""
        return replace(self, img_size=(resolution, resolution))


# What every network takes, and what only some do.
COMMON_FIELDS = ("num_classes", "in_chans", "img_size")
PARTICULAR_FIELDS = ("mixer", "scale", "mixer_options", "budget", "dims", "depths", "drop_path_rate")


def registered_name(spec: NetworkSpec) -> str | None:
    """The name in `list_networks()` of what the specification names; None for other mixers or other sizes."""
    if spec.name != "unified":
        return spec.name
    row = {"mixer": spec.mixer, "scale": spec.scale}
    return next((name for name, entry in NETWORKS.items() if entry.build is UNIFIED.build and entry.row == row), None)


def is_published(spec: NetworkSpec) -> bool:
    """Whether a network has the dims and depths that its authors gave it; matched ones, and given ones, are others."""
    return spec.budget in (None, "published") and spec.dims is None and spec.depths is None


def list_networks() -> list[str]:
    """Every network that a NetworkSpec can name, besides "unified" with a mixer and a scale."""
    return sorted(NETWORKS) + list(TIMM_NETWORKS)


def build_network(spec: NetworkSpec) -> nn.Module:
    """The network on the current default device; `with torch.device("meta")` only describes it.

    Raises: ValueError naming the key, its value and the valid choices.
    """
    require(spec.num_classes >= 0, "num_classes", spec.num_classes, "must be at least 0")
    require(spec.in_chans >= 1, "in_chans", spec.in_chans, "must be at least 1")
    common = {key: getattr(spec, key) for key in COMMON_FIELDS}
    particular = {key: value for key in PARTICULAR_FIELDS if (value := getattr(spec, key)) != getattr(_DEFAULTS, key)}
    if spec.name in TIMM_NETWORKS:
        return _build_timm_network(spec, common, particular)
    entry = _entry(spec.name)
    _refuse_unknown(spec, particular, entry.options.keys() - ({"mixer", "scale"} & entry.row.keys()))
    _check_options(spec, entry)
    if "img_size" not in entry.options:
        del common["img_size"]  # Nothing in this network is sized by the image.
    arguments = dict(entry.row) | common | particular | dict(spec.options)
    return build_with_timm(spec.name, entry.build, arguments | {"pretrained_cfg": dict(entry.pretrained_cfg)})


def preprocessing(name: str) -> tuple[float, str]:
    """How the authors of "unified" or a network of `list_networks()` bring an image to its size.

    Returns: the share of the resized shorter side that the centre crop keeps, and the interpolation.

    Raises: ValueError naming the choices.
    """
    if name in TIMM_NETWORKS:
        cfg = timm.get_pretrained_cfg(name)
        return AUTHORS_CROP_PCT.get(name, cfg.crop_pct), cfg.interpolation
    cfg = _entry(name).pretrained_cfg
    return cfg["crop_pct"], cfg["interpolation"]


def check_network(spec: NetworkSpec) -> nn.Module:
    """Refuse an impossible network, and a mixer that does not keep the shape of a map, without allocating anything.

    Returns: the network on the meta device.

    Raises: ValueError naming the key, its value and the valid choices, or the mixer, its stage and its block.
    """
    with torch.device("meta"):
        network = build_network(spec)
        if isinstance(network, UnifiedBackbone):
            for stage, resolution in enumerate(stage_resolutions(spec.img_size)):
                # What differs from block to block alternates, so two tell of all.
                for block in range(min(2, len(network.stages[stage].blocks))):
                    _check_mixer(network, f"stages.{stage}.blocks.{block}.mixer", resolution)
    return network


def _check_mixer(network: UnifiedBackbone, path: str, resolution: tuple[int, int]) -> None:
    mixer = network.get_submodule(path)
    x = torch.empty(2, *resolution, mixer.dim)
    try:
        with torch.no_grad():
            output = mixer.eval()(x)
    except Exception as error:  # whatever a user's code may raise
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{place_of(network, path)} fails on maps of {tuple(x.shape)}: {type(error).__name__}: {reason}"
        ) from error
    found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if found != tuple(x.shape):
        raise ValueError(
            f"{place_of(network, path)} returns {found} for maps of {tuple(x.shape)}: a mixer must keep their shape"
        )


_DEFAULTS = NetworkSpec()


def _entry(name: str) -> Entry:
    entry = UNIFIED if name == "unified" else NETWORKS.get(name)
    if entry is None:
        raise ValueError(f"network: unknown {name!r}; choices: unified, {', '.join(list_networks())}")
    return entry


def _build_timm_network(spec: NetworkSpec, common: dict[str, Any], particular: dict[str, Any]) -> nn.Module:
    _refuse_unknown(spec, particular, {"drop_path_rate"})
    _refuse_unknown(spec, dict(spec.options), set())
    if not timm.get_pretrained_cfg(spec.name).fixed_input_size:
        del common["img_size"]
    return timm.create_model(spec.name, **common, **particular)


def _refuse_unknown(spec: NetworkSpec, given: Mapping[str, Any], known: set[str]) -> None:
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{key}: network {spec.name} does not take it (given: {value!r})")


def _check_options(spec: NetworkSpec, entry: Entry) -> None:
    """Options may set what neither the name nor another field of the specification does, to a value of its type."""
    taken = {*COMMON_FIELDS, *PARTICULAR_FIELDS, *entry.row}
    choices = {key: parameter for key, parameter in entry.options.items() if key not in taken}
    for key, value in spec.options.items():
        if key not in choices:
            raise ValueError(f"options: network {spec.name} has no {key!r}; choices: {', '.join(choices)}")
        if not _has_type(value, choices[key].annotation):
            wanted = formatannotation(choices[key].annotation)
            raise ValueError(f"options: {key}={value!r} of network {spec.name} must be {wanted}")


def _has_type(value: Any, annotation: Any) -> bool:
    if isinstance(annotation, UnionType):
        return any(_has_type(value, choice) for choice in get_args(annotation))
    kind = get_origin(annotation) or annotation
    if kind is tuple:
        return isinstance(value, list | tuple)
    # Exact types, because True is an int to isinstance.
    return type(value) is kind or (kind is float and type(value) is int) or (kind is NoneType and value is None)
