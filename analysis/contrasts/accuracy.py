"""Scores over seeds, and outcomes over images: from observations to verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .best import bounds_to_best
from .diverged import diverged
from .estimates import Estimates, estimates
from .images import HITS, images_error
from .needed import needed
from .observations import Scores, scores_of
from .outcomes import Outcomes
from .reference import bounds_to_reference
from .verdict import LEVEL, Contrast, Verdict, judge

OutcomesOfSeeds = Mapping[tuple[str, int], Outcomes]
"""By row and seed."""


@dataclass(frozen=True)
class Diverged:
    """A seed whose score is no exception among seeds but a failure; rows are compared without it."""

    row: str
    seed: int
    score: float


@dataclass(frozen=True)
class Compared:
    """The rows of one comparison, ready for any question.

    Attributes:
        rows: all that were tried, also those without a score.
        measured: names of the rows in `estimates`, which have one.
        estimates: None where no row has a score.
    """

    rows: Sequence[Scores]
    measured: Sequence[str]
    estimates: Estimates | None
    diverged: Sequence[Diverged]

    @property
    def covers(self) -> str:
        """Whose error the intervals hold: `seeds`, `images`, `seeds and images` or `nothing`."""
        return "nothing" if self.estimates is None else self.estimates.covers

    def seeds_in_words(self, row: str) -> str:
        """E.g. `5 seeds`, or `3 of 5 seeds, without seed 2 (31.00), which diverged`."""
        scores = next(scores for scores in self.rows if scores.row == row)
        gone = [each for each in self.diverged if each.row == row]
        used = len(scores.of_seed) - len(gone)
        plural = "s" * (scores.attempted != 1)
        count = f"{used} seed{plural}" if used == scores.attempted else f"{used} of {scores.attempted} seed{plural}"
        if not gone:
            return count
        named = ", ".join(f"{each.seed} ({each.score:.2f})" for each in gone)
        return f"{count}, without seed{'s' * (len(gone) > 1)} {named}, which diverged"


def compare_rows(table: pd.DataFrame, metric: str, outcomes: OutcomesOfSeeds | None = None) -> Compared:
    """Seeds that diverged set aside, means and their joint error.

    Args:
        table: observations; a NaN value is a seed that was tried and failed.
        metric: of which more is better. The images' error is known of those in `images.HITS` only.
        outcomes: of every seed that has a score. Where one is missing, intervals are of the seeds only.

    Raises: ValueError as `observations.scores_of`.
    """
    rows = scores_of(table, metric)
    scored = [row for row in rows if row.of_seed]
    seeds = [list(row.of_seed) for row in scored]
    gone = set(diverged([row.values for row in scored]))
    kept = [
        [seed for place, seed in enumerate(of_row) if (index, place) not in gone] for index, of_row in enumerate(seeds)
    ]
    names = [row.row for row in scored]
    images = None
    if metric in HITS and outcomes and scored:
        whole = [[outcomes.get((name, seed)) for seed in of_row] for name, of_row in zip(names, kept, strict=True)]
        if all(each is not None for of_row in whole for each in of_row):
            images = images_error(whole, metric)
    scores = [np.array([row.of_seed[seed] for seed in of_row]) for row, of_row in zip(scored, kept, strict=True)]
    return Compared(
        rows=rows,
        measured=names,
        estimates=estimates(scores, images) if scored else None,
        diverged=[
            Diverged(names[row], seeds[row][place], scored[row].of_seed[seeds[row][place]])
            for row, place in sorted(gone)
        ],
    )


def against_best(compared: Compared, margin: float, level: float = LEVEL) -> list[Contrast]:
    """A contrast of each measured row to the best of the others; none where there are no two."""
    if len(compared.measured) < 2:
        return []
    found = compared.estimates
    if found.known:
        differences, low, high = bounds_to_best(found, level)
    else:
        differences = np.array([found.means[i] - np.delete(found.means, i).max() for i in range(len(found.means))])
        low = high = None
    # The best of the others, as far as it was observed: with it a row has to compete.
    rivals = [
        int(np.argmax(np.where(np.arange(len(found.means)) == i, -np.inf, found.means)))
        for i in range(len(found.means))
    ]
    return _contrasts(compared, differences, low, high, rivals, margin, level)


def against_reference(compared: Compared, reference: str, margin: float, level: float = LEVEL) -> list[Contrast]:
    """A contrast of each other measured row to `reference`; none where there are no two.

    Raises: ValueError if the reference is no measured row.
    """
    if reference not in compared.measured:
        raise ValueError(f"reference={reference}: choose a row with a score, {', '.join(compared.measured)}")
    if len(compared.measured) < 2:
        return []
    found, place = compared.estimates, list(compared.measured).index(reference)
    if found.known:
        differences, low, high = bounds_to_reference(found, place, level)
    else:
        differences, low, high = found.means - found.means[place], None, None
    every = _contrasts(compared, differences, low, high, [place] * len(found.means), margin, level)
    return [contrast for contrast in every if contrast.row != reference]


def _contrasts(
    compared: Compared,
    differences: np.ndarray,
    low: np.ndarray | None,
    high: np.ndarray | None,
    rivals: Sequence[int],
    margin: float,
    level: float,
) -> list[Contrast]:
    found = compared.estimates
    of_images = found.of_images()
    contrasts = []
    for index, row in enumerate(compared.measured):
        bounds = (None, None) if low is None else (float(low[index]), float(high[index]))
        verdict = judge(*bounds, margin)
        lacking = None
        if verdict is Verdict.unresolved and found.known and found.freedom > 0:
            count = 0 if found.images is None else found.images.count
            images_variance = float(of_images[index, rivals[index]])
            lacking = needed(len(compared.measured), found.variance, images_variance, count, margin, level)
        contrasts.append(Contrast(row, float(differences[index]), *bounds, verdict, margin, lacking))
    return contrasts
