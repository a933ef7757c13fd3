"""From records to a comparison: one row a network and training, seeds averaged, cost, speed and publications beside."""

from .compare import SCALES, Comparison, NoRecordsError, compare
from .identity import CONTROLS
from .reference_speed import SpeedEnvironmentError

__all__ = [
    "CONTROLS",
    "SCALES",
    "Comparison",
    "NoRecordsError",
    "SpeedEnvironmentError",
    "compare",
]
