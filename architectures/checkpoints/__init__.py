"""The authors' released weights, renamed and reshaped into ours, with nothing left over and nothing missing."""

from . import conformer, contnet, dwnet, reference_networks, unified
from .contents import CheckpointError, check_entry, read_checkpoint, weights_in
from .conversion import FAMILIES, Family, Rule, convert, load_official
from .releases import RELEASES, UnavailableError, check_release, official_weights, release_digest

__all__ = [
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
    "load_official",
    "official_weights",
    "read_checkpoint",
    "reference_networks",
    "release_digest",
    "unified",
    "weights_in",
]
