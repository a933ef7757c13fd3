"""Whether a network is right as often as it is sure: `scores` has the mathematics, `diagrams` what is drawn."""

from .scores import (
    Bin,
    Scores,
    calibration_error,
    equal_mass_bins,
    equal_width_bins,
    fitted_temperature,
    in_chunks,
    scores,
)

__all__ = [
    "Bin",
    "Scores",
    "calibration_error",
    "equal_mass_bins",
    "equal_width_bins",
    "fitted_temperature",
    "in_chunks",
    "scores",
]
