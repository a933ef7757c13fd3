"""The authors' released weights, renamed and reshaped into this project's, with nothing left over and nothing missing."""

from . import unified
from .contents import CheckpointError, read_checkpoint
from .conversion import FAMILIES, Family, Rule, convert, load_official

__all__ = ["FAMILIES", "CheckpointError", "Family", "Rule", "convert", "load_official", "read_checkpoint", "unified"]
