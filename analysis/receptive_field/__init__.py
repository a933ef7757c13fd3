"""From where a feature gets what it has: `energy` has the mathematics, `charts` what is drawn."""

from .energy import area_percent, centre_energy, centre_of, decibels, within_percent

__all__ = ["area_percent", "centre_energy", "centre_of", "decibels", "within_percent"]
