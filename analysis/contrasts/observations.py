"""The tidy table that every verdict is made from: one number that was observed a line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

COLUMNS: Mapping[str, str] = {
    "row": "object",  # what is compared: everything but the seed, the process and the turn is equal within one
    "seed": "Int64",
    "code": "object",  # a digest of the source that computed it
    "process": "object",  # those of one process share what the machine was like
    "turn": "Int64",  # within a process: of the same turn are what was measured one after another
    "metric": "object",
    "value": "float64",  # NaN: it was tried, and nothing came of it
    "count": "Int64",  # images of a score, steps of a latency
}


class MixedCodeError(ValueError):
    """Observations of different code would be compared; the message names the digests."""


@dataclass(frozen=True)
class Scores:
    """The seeds of one row.

    Attributes:
        of_seed: one score for each seed that gave one, by rising seed.
        attempted: number of seeds that were tried.
    """

    row: str
    of_seed: Mapping[int, float]
    attempted: int

    @property
    def values(self) -> np.ndarray:
        return np.array(list(self.of_seed.values()), dtype=np.float64)


def observations(lines: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """`lines` as a table with COLUMNS; what a line does not say is missing.

    Raises: ValueError naming keys that are no columns.
    """
    lines = list(lines)
    unknown = sorted({key for line in lines for key in line} - set(COLUMNS))
    if unknown:
        raise ValueError(f"no columns of observations: {', '.join(unknown)}; there are {', '.join(COLUMNS)}")
    return pd.DataFrame(lines, columns=list(COLUMNS), dtype="object").astype(COLUMNS)


def scores_of(table: pd.DataFrame, metric: str) -> list[Scores]:
    """The rows of `table` in its order, each with its seeds.

    Raises:
        MixedCodeError: different code computed them.
        ValueError: a row has a seed twice, so that it is not told which one counts.
    """
    chosen = table[table["metric"] == metric]
    codes = sorted(chosen["code"].dropna().unique())
    if len(codes) > 1:
        raise MixedCodeError(
            f"{metric} was computed by different code ({', '.join(codes)}): compare one code at a time"
        )
    # In plain dictionaries: there are as many small tables as comparisons, and pandas takes its time with each.
    of_rows: dict[str, dict[int, float]] = {}
    for row, seed, value in zip(chosen["row"], chosen["seed"], chosen["value"], strict=True):
        of_seed = of_rows.setdefault(str(row), {})
        if seed in of_seed:
            raise ValueError(f"{metric} of {row} was observed twice for seed {seed}: hand in one of the two")
        of_seed[seed] = value
    return [
        Scores(row, {int(seed): of_seed[seed] for seed in sorted(of_seed) if not isnan(of_seed[seed])}, len(of_seed))
        for row, of_seed in of_rows.items()
    ]
