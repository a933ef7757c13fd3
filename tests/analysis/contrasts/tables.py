"""Observations and outcomes as tests write them down."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.contrasts import observations
from analysis.contrasts.outcomes import DTYPE, Outcomes


def scored(rows: Mapping[str, Sequence[float]], code: str | None = None) -> pd.DataFrame:
    """Top-1 of each row's seeds 0, 1, ...; NaN is a seed that failed."""
    return observations(
        {"row": row, "seed": seed, "code": code, "metric": "top1_percent", "value": value}
        for row, scores in rows.items()
        for seed, value in enumerate(scores)
    )


def outcomes_of(right: Sequence[bool] | np.ndarray, images: Sequence[int] | None = None) -> Outcomes:
    table = np.zeros(len(right), dtype=DTYPE)
    table["image"] = np.arange(len(right)) if images is None else images
    table["top1"] = right
    return table


def all_right_but(count: int, wrong: Sequence[int]) -> Outcomes:
    right = np.ones(count, dtype=bool)
    right[list(wrong)] = False
    return outcomes_of(right)
