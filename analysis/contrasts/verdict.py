"""What an interval allows to say."""

from dataclasses import dataclass
from enum import StrEnum

LEVEL = 0.95
"""Probability that all intervals of one comparison hold together."""


class Verdict(StrEnum):
    better = "better"
    worse = "worse"
    equivalent = "equivalent"
    unresolved = "unresolved"


@dataclass(frozen=True)
class Needed:
    """What would show a difference of the margin four times in five; None where no number up to `MOST` would.

    Attributes:
        seeds: of each row.
        images: of the test set, where that limits; then `seeds` goes with it. None where the images there are suffice.
    """

    seeds: int | None
    images: int | None = None


@dataclass(frozen=True)
class Contrast:
    """One row against the best of the others, or against a reference.

    Attributes:
        difference: of the means.
        low, high: bounds that hold for all rows of the comparison together; None where nothing is known of the error.
        needed: of an unresolved one.
    """

    row: str
    difference: float
    low: float | None
    high: float | None
    verdict: Verdict
    margin: float
    needed: Needed | None = None

    def sentence(self, unit: str = "points") -> str:
        """E.g. `worse by 0.31 to 1.20 points` or `unresolved; 11 seeds would show 0.5 points`."""
        if self.verdict is Verdict.worse:
            return f"worse by {-self.high:.2f} to {-self.low:.2f} {unit}"
        if self.verdict is Verdict.better:
            return f"better by {self.low:.2f} to {self.high:.2f} {unit}"
        if self.verdict is Verdict.equivalent:
            return f"equivalent within {self.margin:g} {unit}"
        return f"unresolved; {_needed(self.needed, self.margin, unit)}"


def judge(low: float | None, high: float | None, margin: float) -> Verdict:
    """Better or worse where the interval leaves out a difference of zero, also where it is less than the margin."""
    if low is None or high is None:
        return Verdict.unresolved
    if low > 0:
        return Verdict.better
    if high < 0:
        return Verdict.worse
    return Verdict.equivalent if -margin <= low and high <= margin else Verdict.unresolved


def _needed(needed: Needed | None, margin: float, unit: str) -> str:
    if needed is None:
        return "the seeds' spread is not known"
    if needed.seeds is None:
        return f"no number of seeds would show {margin:g} {unit}"
    images = "" if needed.images is None else f" and {needed.images:,} images"
    return f"{needed.seeds} seeds{images} would show {margin:g} {unit}"
