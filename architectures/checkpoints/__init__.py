"""The authors' released weights, renamed and reshaped into ours, with nothing left over and nothing missing."""

from . import conformer, contnet, dwnet, reference_networks, unified
from .contents import CheckpointError, check_entry, read_checkpoint, weights_in
from .conversion import FAMILIES, Family, Rule, convert, load_official
from .detection import into_detection_form, is_detection_form
from .releases import DETECTORS, RELEASES, UnavailableError, check_release, official_weights, release_digest

__all__ = [
    "DETECTORS",
    "FAMILIES",
    "RELEASES",
    "CheckpointError",
    "Family",
    "Rule",
    "UnavailableError",
    "check_entry",
    "check_release",
    "conformer",
    "contnet",
    "convert",
    "dwnet",
    "into_detection_form",
    "is_detection_form",
    "load_official",
    "official_weights",
    "read_checkpoint",
    "reference_networks",
    "release_digest",
    "unified",
    "weights_in",
]
