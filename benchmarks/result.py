"""What a record of a setting says, in one flat row."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analysis.noise import is_noisy

from .candidates import BASELINE, OURS
from .entries import Setting

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Way:
    """Ours in one way of running it: eager or compiled. None is what was not measured.

    Attributes:
        speedup: how many times as fast as the baseline; `low` and `high` are its 95 % confidence interval.
        product_share_percent: multiply-accumulates per second as a share of a large matrix product's in the same turns.
        copy_share_percent: bytes per second as a share of a copy's in the same turns.
    """

    latency_ms: float
    noisy: bool
    speedup: float | None
    low: float | None
    high: float | None
    product_share_percent: float | None
    copy_share_percent: float | None
    peak_memory_mib: float | None
    implementation: str


@dataclass(frozen=True)
class Result:
    """One setting. A way that ran out of memory, or was not asked for, is None."""

    setting: Setting
    baseline: Way | None
    eager: Way | None
    compiled: Way | None
    failure: str | None

    @property
    def best(self) -> Way | None:
        """The faster one of eager and compiled."""
        ways = [way for way in (self.eager, self.compiled) if way is not None]
        return min(ways, key=lambda way: way.latency_ms, default=None)

    @property
    def met(self) -> bool | None:
        """Whether the target is shown to be met, by the lower limit of the interval; an estimate alone shows nothing.

        None without a target or without a measurement.
        """
        if self.setting.target is None or self.best is None or self.best.speedup is None:
            return None
        return self.best.low is not None and self.best.low >= self.setting.target

    @property
    def memory_ratio(self) -> float | None:
        """Peak memory of an eager training step by the baseline's; None where one of them is not known."""
        if self.setting.mode != "training" or self.baseline is None or self.eager is None:
            return None
        ours, theirs = self.eager.peak_memory_mib, self.baseline.peak_memory_mib
        return None if ours is None or theirs is None else ours / theirs

    def plain(self) -> dict[str, Any]:
        """As plain values, for a file."""
        return asdict(self) | {"name": self.setting.name, "met": self.met}


def result_of(setting: Setting, record: Mapping[str, Any]) -> Result:
    rows: Sequence[Row] = record["rows"]
    ways = {(row["candidate"], row["compiled"]): _way(row) for row in rows}
    out_of_memory = [f"{row['candidate']}: {row['reason']}" for row in rows if row["status"] != "completed"]
    return Result(
        setting,
        ways.get((BASELINE, False)),
        ways.get((OURS, False)),
        ways.get((OURS, True)),
        record["reason"] or "; ".join(out_of_memory) or None,
    )


def _way(row: Row) -> Way | None:
    if row["status"] != "completed":
        return None
    return Way(
        latency_ms=row["latency_ms"],
        noisy=is_noisy(row["latency_ms"], row["latency_iqr_ms"]),
        speedup=row["speedup"],
        low=row["speedup_low"],
        high=row["speedup_high"],
        product_share_percent=row["product_share_percent"],
        copy_share_percent=row["copy_share_percent"],
        peak_memory_mib=row["peak_memory_mib"],
        implementation=row["implementation"],
    )
