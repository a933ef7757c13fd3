"""From the authors' weights to ours: rules say which of their entries each of ours is, and how it is reshaped.

A family is a list of rules, looked at in order, and the entries that the authors' own loader recomputes:

    FAMILIES["dwnet"] = Family(
        rules=[Rule(r"stem\\.conv\\.(weight|bias)", r"patch_embed.proj.\\1"), ...],
        recomputed=("relative_position_index",),
    )

The key is the beginning of the names of the networks that it is for. Rules must name every entry of the network's
`state_dict`; what is then left of the authors' entries is an error.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..network import NetworkSpec, build_network
from ..resizing import resized
from .contents import CheckpointError, check_entry, read_checkpoint, weights_in
from .detection import Forms, backbone_of, is_detection_form

Adapt = Callable[[Tensor, torch.Size], Tensor]


def unchanged(official: Tensor, shape: torch.Size) -> Tensor:
    """The entry itself.

    Raises: ValueError when it has another shape.
    """
    if official.shape != shape:
        raise ValueError(f"has shape {tuple(official.shape)}, the network needs {tuple(shape)}")
    return official


def of_any_size(official: Tensor, shape: torch.Size) -> Tensor:
    """The entry itself, whatever its shape: what has another one than ours is resized by the module that has it."""
    return official


def without_ones(before: int = 0, after: int = 0) -> Adapt:
    """Removes axes of length 1 that the authors have before and after ours.

    The result raises ValueError when the entry has another shape.
    """

    def adapt(official: Tensor, shape: torch.Size) -> Tensor:
        return unchanged(official, torch.Size([1] * before + list(shape) + [1] * after)).reshape(shape)

    return adapt


@dataclass(frozen=True)
class Rule:
    """Our entry, as a regular expression for the whole key; the authors' key, with groups \\1, \\2; how it is adapted.

    `adapt` takes the authors' tensor and our shape, and raises ValueError when it cannot be that. What it returns may
    be of another size, if the module that has the entry can resize it (`architectures.resizing`).
    """

    ours: str
    official: str
    adapt: Adapt = unchanged


@dataclass(frozen=True)
class Family:
    """How the authors' entries become ours; parts of the keys that they recompute and that are left out if present."""

    rules: Sequence[Rule]
    recomputed: tuple[str, ...] = ()

    def rule_for(self, key: str) -> tuple[str, Adapt]:
        """The authors' key for ours, and the adaptation.

        Raises: LookupError when the family's rules are incomplete.
        """
        for rule in self.rules:
            if match := re.fullmatch(rule.ours, key):
                return match.expand(rule.official), rule.adapt
        raise LookupError(f"no rule of this family is for {key}")


FAMILIES: dict[str, Family] = {}


def convert(
    name: str,
    official_state_dict: Mapping[str, Any],
    *,
    img_size: int | tuple[int, int] = 224,
    options: Mapping[str, Any] | None = None,
    **network: Any,
) -> dict[str, Tensor]:
    """Weights for `build_network(NetworkSpec(name, ...))`, ready for `load_state_dict(strict=True)`.

    Args:
        official_state_dict: the authors' state dict, or the contents of their checkpoint file.
        img_size, options, network: the fields of the NetworkSpec, e.g. `mixer_options` and `num_classes`.

    Tables that depend on the image size or on a mixer's window are resized by the module that has them, exactly as the
    authors' loader does.

    With the option `detection` they may be a classification network's too, or a whole detector's (`detection.py`), and
    what comes back has no classifier, as the authors' detection backbones have none.

    Raises:
        CheckpointError: an entry is missing, unknown or misshapen; names the network and the first such entry.
        ValueError: no rules for this network, or impossible options.
    """
    try:
        family = FAMILIES[max((prefix for prefix in FAMILIES if name.startswith(prefix)), key=len)]
    except ValueError:
        raise ValueError(f"network {name} has no official weights; there are some for {', '.join(FAMILIES)}") from None
    size = (img_size, img_size) if isinstance(img_size, int) else img_size
    spec = NetworkSpec(name, options=options or {}, img_size=size, **network)
    with torch.device("meta"):
        described = build_network(spec)
    try:
        weights = weights_in(official_state_dict)
        if is_detection_form(spec):
            return _converted_for_detection(family, Forms(spec), backbone_of(weights))
        return _converted(family, described, weights)
    except CheckpointError as error:
        raise CheckpointError(f"these are not the official weights of {name}: {error}") from error


def load_official(path: str | Path, name: str, **network: Any) -> dict[str, Tensor]:
    """`convert` for a file; `network` are the further fields of the NetworkSpec.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: as `convert`; names the file too.
    """
    contents = read_checkpoint(path)
    try:
        return convert(name, contents, **network)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _converted_for_detection(family: Family, forms: Forms, official: dict[str, Tensor]) -> dict[str, Tensor]:
    """From the backbone of a detector, or from the classification network that the authors begin with."""
    if official.keys() & {family.rule_for(key)[0] for key in forms.left_out}:
        return forms.from_classification(_converted(family, forms.classification, official))
    return _converted(family, forms.detection, official)


def _converted(family: Family, network: nn.Module, official: dict[str, Tensor]) -> dict[str, Tensor]:
    wanted = network.state_dict()
    left = {key: value for key, value in official.items() if not any(part in key for part in family.recomputed)}
    ours: dict[str, Tensor] = {}
    origins: dict[str, tuple[str, torch.Size]] = {}
    for key, like in wanted.items():
        try:
            official_key, adapt = family.rule_for(key)
        except LookupError as error:
            raise CheckpointError(f"they have nothing like {key}, which this network has with its options") from error
        if official_key in left:
            found = left.pop(official_key)
            check_entry(official_key, found, like)
            origins[key] = official_key, found.shape
            try:
                ours[key] = adapt(found, like.shape)
            except ValueError as error:
                raise CheckpointError(f"{official_key} {error}") from error
        elif key.endswith("num_batches_tracked"):
            # Batch norm with a momentum never reads this count, and old checkpoints do not have it.
            ours[key] = torch.zeros(like.shape, dtype=like.dtype)
        else:
            unknown = next((key for key in left if key not in _official_keys(family, wanted)), None)
            raise CheckpointError(f"{official_key} is missing" + (f" ({unknown} is unknown)" if unknown else ""))
    if left:
        raise CheckpointError(f"{next(iter(left))} is unknown")
    ours = resized(network, ours)
    for key, (official_key, shape) in origins.items():
        if ours[key].shape != wanted[key].shape:
            needed = tuple(wanted[key].shape)
            raise CheckpointError(f"{official_key} has shape {tuple(shape)}, the network needs {needed}")
    return ours


def _official_keys(family: Family, wanted: Mapping[str, Tensor]) -> set[str]:
    return {family.rule_for(key)[0] for key in wanted}
