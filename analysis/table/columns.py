"""The columns of the tables for people: heading, unit, and how a value is printed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from ..contrasts import Verdict
from ..metrics import Metric
from ..noise import NOISY_SIGN, is_noisy
from ..sections import CONDITIONS, Section

Row = Mapping[str, Any]
# Which numbers of a measurement are as noisy as its latency.
TIMES = ("images_per_second", "latency_ms")


@dataclass(frozen=True)
class Cell:
    """One printed value.

    Attributes:
        text: empty where nothing was measured.
        value: what to sort by; None sorts last.
        mark: what every format emphasises in its own way.
    """

    text: str
    value: float | str | None
    mark: Literal["", "best", "near", "open", "control", "problem"] = ""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        cell: prints a row's value, in `unit`.
        condition: part of what the row is, not of what was measured: said once if it is the same in all rows.
        sparse: a condition of some rows only: said once if it is the same wherever there is one.
        essential: also on the terminal and in LaTeX, where space is short.
    """

    name: str
    heading: str
    unit: str
    cell: Callable[[Row], Cell]
    condition: bool = False
    sparse: bool = False
    essential: bool = True
    numeric: bool = True


# Of the verdict on a row's accuracy; worse has no sign.
MARKS = {Verdict.better: "best", Verdict.equivalent: "near", Verdict.unresolved: "open"}


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _condition(name: str, heading: str, sparse: bool = False, essential: bool = True) -> Column:
    def cell(row: Row) -> Cell:
        value = row[name]
        if _missing(value):
            return Cell("", None)
        if isinstance(value, bool):
            return Cell("yes" if value else "no", value)
        return Cell(str(value), value)

    numeric = name in ("resolution", "columns", "dim", "batch_size", "threads")
    return Column(name, heading, "", cell, condition=True, sparse=sparse, essential=essential, numeric=numeric)


def _mixer(row: Row) -> Cell:
    mixer = row["mixer"]
    if _missing(mixer):
        return Cell("", None)
    return Cell(mixer, mixer, "control" if row.get("control") else "")


def _number(name: str, heading: str, unit: str, form: str, divisor: float = 1, essential: bool = True) -> Column:
    def cell(row: Row) -> Cell:
        value = row[name]
        return Cell("", None) if _missing(value) else Cell(format(float(value) / divisor, form), float(value))

    return Column(name, heading, unit, cell, essential=essential)


def _printed(name: str, heading: str) -> Column:
    """A published number, kept as its source prints it; the column sorts by the digits."""

    def cell(row: Row) -> Cell:
        text = row[name]
        return Cell("", None) if _missing(text) else Cell(text, float(text.strip("~KMG")))

    return Column(name, heading, "", cell, essential=False)


def _top1(row: Row) -> Cell:
    mean, spread = row["top1_percent"], row["top1_spread"]
    if _missing(mean):
        return Cell("", None)
    text = f"{mean:.2f}" if _missing(spread) else f"{mean:.2f} ± {spread:.2f}"
    return Cell(text, mean, MARKS.get(row["verdict"], ""))


def _verdict(row: Row) -> Cell:
    text = row["verdict_in_words"]
    return Cell("", None) if _missing(text) else Cell(text, row["difference_to_best"])


def _seeds(row: Row) -> Cell:
    """How many seeds the mean is of, and of how many that were tried where these are more."""
    used, attempted = (0 if _missing(row[name]) else int(row[name]) for name in ("seeds", "attempted"))
    if attempted == 0:
        return Cell("", None)
    return Cell(str(used), used) if used == attempted else Cell(f"{used} of {attempted}", used, "problem")


def _speed(name: str, heading: str, unit: str, form: str, prefix: str = "", essential: bool = True) -> Column:
    """A column of a measurement of speed, whose failure is its value."""

    def cell(row: Row) -> Cell:
        value, status = row[prefix + name], row[f"{prefix}status"]
        if not _missing(status) and status != "completed":
            return Cell(status.replace("_", " "), None, "problem")
        if _missing(value):
            return Cell("", None)
        text = format(value, form)
        median, iqr = row[f"{prefix}latency_ms"], row[f"{prefix}latency_iqr_ms"]
        if name == "latency_ms" and not _missing(iqr):
            text += f" ± {iqr:{form}}"
        if name in TIMES and not (_missing(median) or _missing(iqr)) and is_noisy(median, iqr):
            text += f" {NOISY_SIGN}"
        return Cell(text, value)

    return Column(prefix + name, heading, unit, cell, essential=essential)


def _speedup(row: Row) -> Cell:
    value = row["speedup"]
    if _missing(value):
        return Cell("", None)
    limits = "" if _missing(row["speedup_low"]) else f" [{row['speedup_low']:.2f}, {row['speedup_high']:.2f}]"
    return Cell(f"{value:.2f}{limits} × {row['speedup_over']}", value)


def _unfinished(row: Row) -> Cell:
    text = row["unfinished"]
    return Cell("", None) if _missing(text) else Cell(text, text, "problem")


def section_columns(section: Section) -> list[Column]:
    """The columns for the rows of an analysis: its network, its conditions, and its numbers with their spread."""
    return [
        _condition("network", "network"),
        Column("mixer", "mixer", "", _mixer, numeric=False),
        *(_condition(name, name) for name in CONDITIONS),
        _condition("seeds", "seeds"),
        *(_metric(metric) for metric in section.metrics),
    ]


def _metric(metric: Metric) -> Column:
    def cell(row: Row) -> Cell:
        mean, spread = row[metric.name], row[f"{metric.name}_spread"]
        if _missing(mean):
            return Cell("", None)
        text = f"{mean:,.{metric.digits}f}"
        return Cell(text if _missing(spread) else f"{text} ± {spread:,.{metric.digits}f}", mean)

    return Column(metric.name, metric.label, metric.unit, cell)


def comparison_columns(rows: pd.DataFrame) -> list[Column]:
    """The columns for `rows` of a comparison; MACs are in G where the largest network has one."""
    giga = bool((rows["macs"] >= 10**9).any())
    macs_unit, macs_form, macs_divisor = ("G", ",.3f", 1e9) if giga else ("M", ",.1f", 1e6)
    return [
        _condition("network", "network"),
        Column("mixer", "mixer", "", _mixer, numeric=False),
        _condition("scale", "scale"),
        _condition("budget", "budget"),
        _condition("variant", "variant"),
        _condition("task", "task"),
        _condition("data", "data"),
        _condition("recipe", "recipe"),
        _condition("resolution", "resolution"),
        _condition("precision", "precision"),
        _condition("code", "code", sparse=True),
        _condition("sweep", "sweep", essential=False),
        Column("top1_percent", "top-1", "%", _top1),
        Column("seeds", "seeds", "", _seeds),
        Column("verdict_in_words", "against the best of the others", "", _verdict, essential=False, numeric=False),
        _number("top1_without_mixers_percent", "top-1 without mixers", "%", ".2f"),
        _number("ema_top1_percent", "top-1 of averaged weights", "%", ".2f", essential=False),
        _number("published_top1_percent", "published top-1", "%, ImageNet-1k", ".1f"),
        _number("top1_difference", "top-1 difference", "", "+.2f"),
        _number("params", "params", "M", ",.2f", 1e6),
        _printed("published_params", "published params"),
        _number("params_difference_percent", "params difference", "%", "+.2f", essential=False),
        _number("macs", "MACs", macs_unit, macs_form, macs_divisor),
        _printed("published_macs", "published MACs"),
        _number("macs_difference_percent", "MACs difference", "%", "+.2f", essential=False),
        _number("activations", "activations", "M", ",.2f", 1e6, essential=False),
        _speed("images_per_second", "inference", "images/s", ",.0f", "inference_"),
        _speed("latency_ms", "inference latency", "ms", ",.1f", "inference_", essential=False),
        _speed("peak_memory_mib", "inference memory", "MiB", ",.0f", "inference_", essential=False),
        _speed("images_per_second", "training step", "images/s", ",.0f", "training_"),
        _speed("latency_ms", "training step latency", "ms", ",.1f", "training_", essential=False),
        _speed("peak_memory_mib", "training memory", "MiB", ",.0f", "training_"),
        _number("train_images_per_second", "training run", "images/s", ",.0f", essential=False),
        _condition("speed_environment", "speed environment", sparse=True),
        Column("unfinished", "not completed", "", _unfinished, numeric=False),
    ]


SPEED_COLUMNS: Sequence[Column] = (
    _condition("network", "network"),
    Column("mixer", "mixer", "", _mixer, numeric=False),
    _condition("scale", "scale"),
    _condition("subject", "subject", sparse=True),
    _condition("dim", "channels"),
    _condition("mode", "mode"),
    _condition("compiled", "compiled"),
    _condition("precision", "precision"),
    _condition("implementation", "computed by"),
    _condition("resolution", "resolution"),
    _condition("columns", "columns"),
    _condition("memory_format", "memory format"),
    _condition("tf32", "TF32"),
    _condition("cudnn_benchmark", "cuDNN benchmark"),
    _condition("threads", "threads"),
    _condition("fingerprint", "environment"),
    _condition("code", "code", sparse=True),
    _condition("batch_size", "batch"),
    _speed("images_per_second", "speed", "images/s", ",.0f"),
    _speed("latency_ms", "latency", "ms", ",.1f"),
    _number("gmacs_per_second", "rate", "GMAC/s", ",.1f"),
    _number("product_share_percent", "of matrix product", "%", ".0f"),
    _number("gb_per_second", "traffic", "GB/s", ",.1f"),
    _number("copy_share_percent", "of copy", "%", ".0f"),
    _speed("peak_memory_mib", "memory", "MiB", ",.0f"),
    Column("speedup", "times as fast", "", _speedup),
)
