"""How fast networks and mixers are, and how much memory they take: candidates take turns, one row for each."""

from .candidate import Candidate, Resolution
from .measurement import measure
from .memory_exhaustion import is_out_of_memory
from .ratio import Ratio, speedup

__all__ = ["Candidate", "Ratio", "Resolution", "is_out_of_memory", "measure", "speedup"]
