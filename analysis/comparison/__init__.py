"""From records to a comparison: one row a network and training, seeds averaged, cost, speed and publications beside."""

from .compare import SCALES, Comparison, NoRecordsError, compare
from .identity import CONTROLS
from .reference_speed import SpeedEnvironmentError
from .seeds import BEST, NOT_DISTINGUISHABLE

__all__ = [
    "BEST",
    "CONTROLS",
    "NOT_DISTINGUISHABLE",
    "SCALES",
    "Comparison",
    "NoRecordsError",
    "SpeedEnvironmentError",
    "compare",
]
