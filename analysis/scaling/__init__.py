"""How costs grow with the image: training memory without a byte of it, growth exponents, crossings, charts."""

from .growth import Growth, crossings, growth, largest_within
from .training_memory import TrainingMemory, training_memory

__all__ = ["Growth", "TrainingMemory", "crossings", "growth", "largest_within", "training_memory"]
