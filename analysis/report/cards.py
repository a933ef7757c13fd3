"""What a report says first: the few sentences that most readers came for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..comparison import Comparison
from ..contrasts import Verdict
from ..noise import is_noisy


@dataclass(frozen=True)
class Card:
    """A question, the network that answers it, the number, and what puts it in proportion."""

    name: str
    value: str
    number: str
    more: str


def cards(comparison: Comparison) -> list[Card]:
    """Of the largest group of rows that compare with each other; nothing is said that was not measured."""
    rows = comparison.rows
    return [*_accuracy(rows), *_speed(rows), _cells(comparison)]


def _accuracy(rows: pd.DataFrame) -> Iterator[Card]:
    trained = rows[rows["top1_percent"].notna()]
    if trained.empty:
        return
    sizes = trained.groupby("comparison")["top1_percent"].transform("size")
    first = trained.loc[sizes.idxmax(), "comparison"]
    group = trained[trained["comparison"] == first]
    mixers = group[~group["control"]]
    if mixers.empty:
        return
    highest = mixers.loc[mixers["top1_percent"].idxmax()]
    where = " ".join(text for text in (highest["scale"], highest["data"]) if text)
    score = _score(highest)
    if len(group) == 1:
        yield Card(f"Accuracy, {where}", _name(highest), f"{score} %", "")
    elif highest["verdict"] == Verdict.better:
        yield Card(
            f"Most accurate, {where}", _name(highest), f"{score} %", f"{highest['verdict_in_words']} than all others"
        )
    else:
        yield Card(f"Most accurate, {where}", "not decided", "", _undecided(group, highest, score))
    equivalent = mixers[(mixers["verdict"] == Verdict.equivalent) & mixers["macs"].notna()]
    if len(equivalent) > 1:
        lightest = equivalent.loc[equivalent["macs"].idxmin()]
        more = f"of {len(equivalent)} that are {lightest['verdict_in_words']}"
        yield Card("Fewest MACs among the most accurate", _name(lightest), _short(lightest["macs"]), more)


def _undecided(group: pd.DataFrame, highest: pd.Series, score: str) -> str:
    if highest["error_of"] == "nothing":
        return f"highest: {_name(highest)}, {score} %; the spread over seeds is not known, so differences may be chance"
    rivals = group[(group["verdict"] != Verdict.worse) & (group.index != highest.name)]
    worse = int((group["verdict"] == Verdict.worse).sum())
    shown = f"; {worse} of {len(group)} are shown to be worse" if worse else ""
    named = ", ".join(rivals["mixer"].fillna(rivals["network"]))
    said = f" ({highest['verdict_in_words']})" if highest["verdict"] == Verdict.unresolved else ""
    return f"highest: {_name(highest)}, {score} %, not shown to be better than {named}{said}{shown}"


def _score(row: pd.Series) -> str:
    spread = "" if pd.isna(row["top1_spread"]) else f" ± {row['top1_spread']:.2f}"
    return f"{row['top1_percent']:.2f}{spread}"


def _speed(rows: pd.DataFrame) -> Iterator[Card]:
    for mode, name in (("inference", "Highest inference speed"), ("training", "Highest speed of a training step")):
        column = f"{mode}_images_per_second"
        measured = rows[rows[column].notna() & ~rows["control"]]
        environments = measured["speed_environment"].value_counts()
        if len(measured) < 2:
            continue
        comparable = measured[measured["speed_environment"] == environments.index[0]]
        quiet = comparable[[not _is_noisy(row, mode) for row in comparable.to_dict("records")]]
        if len(quiet) < 2:
            continue
        fastest = quiet.loc[quiet[column].idxmax()]
        left_out = len(comparable) - len(quiet)
        more = f"of {len(quiet)}, controls aside" + (f"; {left_out} too noisy to count" if left_out else "")
        yield Card(name, _name(fastest), f"{fastest[column]:,.0f} images/s", more)


def _is_noisy(row: Mapping[str, Any], mode: str) -> bool:
    median, iqr = row[f"{mode}_latency_ms"], row[f"{mode}_latency_iqr_ms"]
    return not (pd.isna(median) or pd.isna(iqr)) and is_noisy(median, iqr)


def _cells(comparison: Comparison) -> Card:
    total, completed = sum(comparison.counts.values()), comparison.counts.get("completed", 0)
    rest = [
        f"{count} {status.replace('_', ' ')}" for status, count in comparison.counts.items() if status != "completed"
    ]
    value = f"{completed}" if completed == total else f"{completed} of {total}"
    return Card("Cells completed", value, "", ", ".join(rest) or "none failed")


def _name(row: pd.Series) -> str:
    return row["mixer"] or row["network"]


def _short(macs: int) -> str:
    return f"{macs / 1e9:.2f} G" if macs >= 1e9 else f"{macs / 1e6:.1f} M"
