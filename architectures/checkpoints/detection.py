"""Weights for detection forms: out of whole detectors, and out of classification networks, as the authors begin.

The authors' detection backbones differ from their classification networks in a few entries: they lack the classifier
and what is in front of it, and have norms of their own on the maps that leave them. Their code loads what is there and
leaves the rest as it was initialised; here the two forms of a network say what that is, and nothing else may differ.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..network import NetworkSpec, build_network
from .contents import CheckpointError

BACKBONE = "backbone."
# How norms begin: the only entries that a detection form has and a classification network does not.
INITIAL = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1, "num_batches_tracked": 0}
IMAGENET_CLASSES = 1000

log = logging.getLogger(__name__)


def is_detection_form(spec: NetworkSpec) -> bool:
    return bool(spec.options.get("detection"))


def backbone_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's weights out of a whole detector's, or all of them where it is none; says what is left out."""
    inside = {key.removeprefix(BACKBONE): value for key, value in weights.items() if key.startswith(BACKBONE)}
    if not inside:
        return dict(weights)
    parts = {key.partition(".")[0] for key in weights if not key.startswith(BACKBONE)}
    log.info("of a detector only the backbone is taken; left out: %s", ", ".join(sorted(parts)) or "nothing")
    return inside


class Forms:
    """The two forms of a network: detection, without a classifier, and the classification that it starts from.

    Attributes:
        detection, classification: both on the meta device.
        entries: of the detection form, by name.
        fresh: entries that only the detection form has.
        left_out, classifier: entries that only the classification form has.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        options = {option: value for option, value in spec.options.items() if option != "detection"}
        classification = replace(spec, num_classes=IMAGENET_CLASSES, options=options)
        with torch.device("meta"):
            self.detection = build_network(replace(spec, num_classes=0))
            self.classification = build_network(classification)
            headless = build_network(replace(classification, num_classes=0)).state_dict()
        self.entries, whole = self.detection.state_dict(), self.classification.state_dict()
        self.fresh = self.entries.keys() - whole.keys()
        self.left_out = headless.keys() - self.entries.keys()
        self.classifier = whole.keys() - headless.keys()

    def from_classification(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our weights of the classification form, of any classes, as ones of the detection form.

        What only the detection form has starts as norms do; that, and what is left out, is named in the log.

        Raises: CheckpointError naming an entry that is missing, or that neither form has.
        """
        wanted = (self.entries.keys() - self.fresh) | self.left_out
        for key in sorted(wanted - weights.keys()):
            raise CheckpointError(f"{key} is missing")
        for key in sorted(weights.keys() - wanted - self.classifier):
            raise CheckpointError(f"{key} is unknown")
        unused = weights.keys() - self.entries.keys()
        log.info("from classification to detection: new are %s; left out: %s", _modules(self.fresh), _modules(unused))
        return {
            key: torch.full_like(like, INITIAL[key.rpartition(".")[2]], device="cpu")
            if key in self.fresh
            else weights[key]
            for key, like in self.entries.items()
        }


def into_detection_form(spec: NetworkSpec, weights: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Our weights for the detection form `spec`: as they are if they are of this form, else see `Forms`.

    Raises: CheckpointError as `Forms.from_classification`; names `source` too.
    """
    forms = Forms(spec)
    if not forms.left_out & weights.keys():
        return dict(weights)
    try:
        return forms.from_classification(weights)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error


def _modules(keys: Iterable[str]) -> str:
    """What the entries belong to: `output_norms.0` for its weight and its bias."""
    return ", ".join(sorted({key.rpartition(".")[0] for key in keys})) or "nothing"
