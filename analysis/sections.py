"""What an analysis found about several networks, as one table and the observations behind it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from .metrics import Metric

CONDITIONS = ("scale", "data", "resolution", "precision", "recipe", "settings")
"""What tells rows of one section apart, besides the network. `recipe` is the one by which its weights were trained,
`settings` what was given to the task and is not its default."""


class Analysis(Protocol):
    """What a task says of its section: heading, a sentence on what the numbers are, the dataclass of its settings, the
    numbers, the charts."""

    title: str
    says: str
    settings: type
    metrics: Sequence[Metric]

    def charts(self, observations: pd.DataFrame, look: Mapping[str, Any]) -> Iterable[Any]:
        """`analysis.report.chart.Chart`s of observations, in the style (`analysis.report.style`) of each label."""


@dataclass(frozen=True)
class Section:
    """What one analysis found.

    Attributes:
        task: its name.
        metrics: those of its numbers that were found of any network: the columns of `rows`.
        rows: one a network and its conditions: `mixer`, `network`, `label`, CONDITIONS, `seeds` (how many trained
            networks), and of each metric the mean over them; `<metric>_spread` is their standard deviation, NaN for a
            single one.
        observations: one an observation of one network: `label`, `mixer`, `network`, `cell`, `trained_seed`,
            CONDITIONS, and what the task has put into it.
    """

    task: str
    analysis: Analysis
    metrics: Sequence[Metric]
    rows: pd.DataFrame
    observations: pd.DataFrame


def section(task: str, analysis: Analysis, records: pd.DataFrame) -> Section | None:
    """The completed cells of `task` among `records` (see `records.read_records`); None where there are none.

    Of a cell that ran in several sweeps the latest counts.
    """
    mine = records[(records["task"] == task) & (records["status"] == "completed")]
    mine = mine.sort_values("finished", kind="stable").drop_duplicates("cell", keep="last")
    if mine.empty:
        return None
    found, observed = [], []
    for record in mine.sort_index().to_dict("records"):
        whole = json.loads(Path(record["path"]).read_bytes())
        described = _described(record, whole, vars(analysis.settings()))
        found.append(described | {metric.name: whole["results"].get(metric.name) for metric in analysis.metrics})
        observed += [described | dict(each) for each in whole["details"].get("observations", ())]
    cells = pd.DataFrame(found)
    shown = [metric for metric in analysis.metrics if cells[metric.name].notna().any()]
    return Section(task, analysis, shown, _rows(cells, [metric.name for metric in shown]), pd.DataFrame(observed))


def by_conditions(observations: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The observations of each set of CONDITIONS, with these in words: `micro, digits, 32×32, fp32, recipe short`.

    What was given to the task is said as far as it tells sets apart that are otherwise alike.
    """
    said = {"resolution": "{0:.0f}×{0:.0f}", "recipe": "recipe {}"}
    alike = [name for name in CONDITIONS if name != "settings"]
    for values, group in observations.groupby(alike, dropna=False, sort=False):
        known = {name: value for name, value in zip(alike, values, strict=True) if pd.notna(value)}
        words = [said.get(name, "{}").format(value) for name, value in known.items()]
        settings = group["settings"].fillna("{}")
        given = {text: json.loads(text) for text in settings.unique()}
        for text, part in group.groupby(settings, sort=False):
            differing = [
                f"{key}={value}"
                for key, value in given[text].items()
                if any(other.get(key) != value for other in given.values())
            ]
            yield ", ".join([*words, *differing]), part


def _described(record: Mapping[str, Any], whole: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What the record's network is called, and under which conditions it was asked."""
    origin = whole["details"].get("weights") or {}
    settings = {key: value for key, value in whole["config"]["task"].items() if value != defaults.get(key)}
    return {
        "label": record["mixer"] or record["network"],
        "mixer": record["mixer"],
        "network": record["network"],
        "cell": record["cell"],
        "trained_seed": origin.get("seed"),
        **{name: record[name] for name in ("scale", "data", "resolution", "precision")},
        "recipe": origin.get("recipe"),
        "settings": json.dumps(settings, sort_keys=True) if settings else None,
        "training": origin.get("training"),
    }


def _rows(cells: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    by = ["label", "mixer", "network", *CONDITIONS, "training"]
    grouped = cells.groupby(by, dropna=False, sort=False)
    means, spreads = grouped[list(names)].mean(), grouped[list(names)].std()
    rows = means.join(spreads.add_suffix("_spread"))
    rows["seeds"] = grouped.size()
    return rows.reset_index().drop(columns="training")
