"""How many times as fast one row is as another, from processes in which both took turns."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t

from .verdict import LEVEL, Verdict

MOST_PROCESSES = 1000


@dataclass(frozen=True)
class Ratio:
    """A speed as a multiple of another.

    Attributes:
        low, high: limits of the confidence interval; None where there is one process.
        processes: in which both took turns.
        deviation: standard deviation of the ratio's logarithm between processes; NaN where there is one.
    """

    value: float
    low: float | None
    high: float | None
    processes: int
    deviation: float

    def reaches(self, target: float) -> bool:
        """Whether it is shown to be at least `target`; the estimate alone shows nothing."""
        return self.low is not None and self.low >= target

    def verdict(self, margin_percent: float) -> Verdict:
        """Better is faster. Equivalent: neither is more than `margin_percent` faster than the other."""
        if self.low is None or self.high is None:
            return Verdict.unresolved
        if self.low > 1:
            return Verdict.better
        if self.high < 1:
            return Verdict.worse
        most = 1 + margin_percent / 100
        return Verdict.equivalent if 1 / most <= self.low and self.high <= most else Verdict.unresolved

    def processes_needed(self, margin_percent: float, level: float = LEVEL) -> int | None:
        """How many make an interval that reaches `margin_percent` to either side; None where that cannot be said."""
        if math.isnan(self.deviation):
            return None
        reach = math.log1p(margin_percent / 100)
        for processes in range(2, MOST_PROCESSES + 1):
            if t.ppf((1 + level) / 2, processes - 1) * self.deviation / math.sqrt(processes) <= reach:
                return processes
        return None


def ratio(
    table: pd.DataFrame,
    row: str,
    reference: str,
    metric: str = "latency_ms",
    comparisons: int = 1,
    level: float = LEVEL,
) -> Ratio | None:
    """Latency of `reference` by that of `row`; None where the two never took turns in one process.

    Turns of a process are paired, so that what slows down both cancels, and give one number: the median over turns of
    the logarithm of the ratio. A process is what can be repeated: memory lies elsewhere, the machine is in another
    mood, other kernels may be chosen. So the interval is Student's, over processes, however many turns each had.

    Args:
        table: observations with `process` and `turn`.
        comparisons: how many ratios are looked at together; their intervals hold together by Bonferroni's correction.
    """
    chosen = table[table["metric"] == metric]
    turns = ["process", "turn"]
    both = chosen[chosen["row"] == row].merge(chosen[chosen["row"] == reference], on=turns, suffixes=("", "_reference"))
    both = both[both["value"].notna() & both["value_reference"].notna()]
    if both.empty:
        return None
    logarithms = np.log(both["value_reference"]) - np.log(both["value"])
    of_process = logarithms.groupby(both["process"]).median().to_numpy()
    processes, mean = len(of_process), float(of_process.mean())
    if processes == 1:
        return Ratio(math.exp(mean), None, None, 1, math.nan)
    deviation = float(of_process.std(ddof=1))
    reach = float(t.ppf(1 - (1 - level) / (2 * comparisons), processes - 1)) * deviation / math.sqrt(processes)
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), processes, deviation)
