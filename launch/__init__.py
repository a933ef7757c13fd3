"""WHERE a cell runs, and what is left behind: its identity, its directory, its record, and many of them in a row.

Nothing here imports torch until a cell that needs it starts, so looking after a sweep is instant.
"""

from .cell import Cell
from .dispatch import dispatch
from .execute import Outcome, execute
from .submission import LaunchError
from .sweep import nothing_failed, run_sweep

__all__ = ["Cell", "LaunchError", "Outcome", "dispatch", "execute", "nothing_failed", "run_sweep"]
