"""What a network's mixers are good for: their averages, their effective rank, what is lost without them, charts."""

from .averages import Averages
from .effective_rank import effective_rank, mixing_matrix
from .lost import Lost, lost_points

__all__ = ["Averages", "Lost", "effective_rank", "lost_points", "mixing_matrix"]
