"""The selective scan of a map: one public function, `selective_scan`, and one file for each implementation of it."""

from .function import selective_scan
from .implementations import IMPLEMENTATIONS, implementation_for

__all__ = ["IMPLEMENTATIONS", "implementation_for", "selective_scan"]
