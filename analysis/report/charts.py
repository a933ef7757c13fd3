"""All charts of a report, in the order in which they are read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import altair as alt

from ..comparison import Comparison
from ..records import MIXER_ALONE
from .chart import Chart, labels, speed_labels
from .cost_curves import cost_curves
from .learning_curves import learning_curves
from .pareto import pareto_charts
from .profile import profiles
from .speed_curves import speed_curves
from .style import styles


def charts(comparison: Comparison) -> list[Chart]:
    """Every chart that the numbers are there for."""
    rows = comparison.rows.assign(label=labels(comparison.rows))
    speed = comparison.speed.assign(label=speed_labels(comparison.speed))
    alone = speed["subject"] == MIXER_ALONE
    asked = [label for section in comparison.sections for label in section.rows["label"]]
    look = styles([*rows["label"], *speed["label"], *asked])
    trained = rows[rows["top1_percent"].notna()]
    found: list[Chart] = []
    with alt.data_transformers.disable_max_rows():
        found += profiles(trained, look)
        for _, group in trained.groupby("regime", sort=False):  # nothing but network and scale differ
            conditions = training_conditions(group.iloc[0])
            found += pareto_charts(group, conditions, look)
            found += learning_curves(group, comparison.curves, conditions, look)
        for section in comparison.sections:
            found += [
                replace(chart, kind=section.task) for chart in section.analysis.charts(section.observations, look)
            ]
        found += speed_curves(speed[~alone], look)
        found += cost_curves(speed[alone], look)
    return found


def training_conditions(row: Mapping[str, Any]) -> str:
    """E.g. `digits, 32×32, recipe short, fp32, budget params`."""
    how = f"recipe {row['recipe']}" if row["recipe"] else row["task"]
    rule = "" if row["budget"] in (None, "published") else f", budget {row['budget']}"
    code = f", code {row['code']}" if row["code"] else ""
    return f"{row['data']}, {row['resolution']}×{row['resolution']}, {how}, {row['precision']}{rule}{code}"
