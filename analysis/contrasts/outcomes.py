"""Reads what a network answered to each image: `outcomes.npy` in a cell's folder.

training/outcomes.py writes it, and says what the fields are; neither of training and analysis imports the other.
"""

from pathlib import Path
from typing import TypeAlias

import numpy as np

Outcomes: TypeAlias = np.ndarray
"""A structured array of DTYPE, one element an image."""

DTYPE = np.dtype(
    [
        ("image", "<u8"),
        ("label", "<u2"),
        ("answer", "<u2"),
        ("log_probability", "<f2"),
        ("top1", "?"),
        ("top5", "?"),
    ]
)


class OutcomesError(ValueError):
    """A file is no whole file of outcomes."""


def read_outcomes(path: Path | str) -> Outcomes:
    """The outcomes at `path`, in the order of the data set.

    Raises:
        FileNotFoundError: there are none.
        OutcomesError: the file is damaged, or of another format.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise OutcomesError(f"{path} is no whole file of outcomes: {error}") from error
    if found.dtype != DTYPE:
        raise OutcomesError(f"{path} has {found.dtype}, not {DTYPE}")
    return found
