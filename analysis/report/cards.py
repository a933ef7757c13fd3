"""What a report says first: the few sentences that most readers came for."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from ..comparison import BEST, NOT_DISTINGUISHABLE, Comparison


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
    compared = ["task", "data", "resolution", "recipe", "precision", "code", "scale", "budget"]
    trained = rows[rows["top1_percent"].notna()]
    if trained.empty:
        return
    sizes = trained.groupby(compared, dropna=False, sort=False)["top1_percent"].transform("size")
    largest = trained[sizes == sizes.max()]
    group = next(iter(largest.groupby(compared, dropna=False, sort=False)))[1]
    best = group.loc[group["top1_percent"].idxmax()]
    near = group[group["standing"] == NOT_DISTINGUISHABLE]
    spread = "" if pd.isna(best["top1_spread"]) else f" ± {best['top1_spread']:.2f}"
    where = " ".join(text for text in (best["scale"], best["data"]) if text)
    if best["standing"] != BEST:
        more = "one seed each, so differences may be chance" if len(group) > 1 else ""
    elif near.empty:
        more = "clearly ahead of all others by the spread over seeds"
    else:
        more = f"not distinguishable from it: {', '.join(near['mixer'].fillna(near['network']))}"
    yield Card(f"Most accurate, {where}", _name(best), f"{best['top1_percent']:.2f}{spread} %", more)
    leaders = group[group["standing"].isin((BEST, NOT_DISTINGUISHABLE)) & group["macs"].notna()]
    if len(leaders) > 1:
        lightest = leaders.loc[leaders["macs"].idxmin()]
        share = lightest["macs"] / best["macs"] if pd.notna(best["macs"]) else None
        more = f"{100 * share:.0f} % of {_name(best)}'s" if share is not None and share != 1 else ""
        yield Card("Fewest MACs among the most accurate", _name(lightest), _short(lightest["macs"]), more)


def _speed(rows: pd.DataFrame) -> Iterator[Card]:
    for mode, name in (("inference", "Fastest inference"), ("training", "Fastest training step")):
        column = f"{mode}_images_per_second"
        measured = rows[rows[column].notna() & ~rows["control"]]
        environments = measured["speed_environment"].value_counts()
        if len(measured) < 2:
            continue
        comparable = measured[measured["speed_environment"] == environments.index[0]]
        fastest = comparable.loc[comparable[column].idxmax()]
        slowest = comparable.loc[comparable[column].idxmin()]
        factor = fastest[column] / slowest[column]
        more = f"{factor:.1f} times {_name(slowest)}, controls aside"
        yield Card(name, _name(fastest), f"{fastest[column]:,.0f} images/s", more)


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
