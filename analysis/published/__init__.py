"""What the authors published, number by number, with its source."""

from .number import PublishedNumber
from .tables import COLUMNS, QUANTITIES, load_published

__all__ = ["COLUMNS", "QUANTITIES", "PublishedNumber", "load_published"]
