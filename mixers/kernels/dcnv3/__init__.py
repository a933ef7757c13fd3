"""The DCNv3 operation: one public function, `dcnv3`, and one file for each implementation of it."""

from ..compiler import MissingImplementationError
from .function import dcnv3
from .implementations import IMPLEMENTATIONS, Implementation, implementation_for

__all__ = ["IMPLEMENTATIONS", "Implementation", "MissingImplementationError", "dcnv3", "implementation_for"]
