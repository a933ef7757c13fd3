"""The authors' released weights, renamed and reshaped into ours, with nothing left over and nothing missing."""

from . import conformer, contnet, dwnet, unified
from .contents import CheckpointError, read_checkpoint
from .conversion import FAMILIES, Family, Rule, convert, load_official

__all__ = [
    "FAMILIES",
    "CheckpointError",
    "Family",
    "Rule",
    "conformer",
    "contnet",
    "convert",
    "dwnet",
    "load_official",
    "read_checkpoint",
    "unified",
]
