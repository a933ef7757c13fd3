"""All charts of a report, in the order in which they are read."""

from collections.abc import Mapping
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

# Rows share a chart where nothing but the network differs.
TRAINING = ["task", "data", "resolution", "recipe", "precision"]


def charts(comparison: Comparison) -> list[Chart]:
    """Every chart that the numbers are there for."""
    rows = comparison.rows.assign(label=labels(comparison.rows))
    speed = comparison.speed.assign(label=speed_labels(comparison.speed))
    alone = speed["subject"] == MIXER_ALONE
    look = styles([*rows["label"], *speed["label"]])
    trained = rows[rows["top1_percent"].notna()]
    found: list[Chart] = []
    with alt.data_transformers.disable_max_rows():
        found += profiles(trained, look)
        for _, group in trained.groupby(TRAINING, dropna=False, sort=False):
            conditions = training_conditions(group.iloc[0])
            found += pareto_charts(group, conditions, look)
            found += learning_curves(group, comparison.curves, conditions, look)
        found += speed_curves(speed[~alone], look)
        found += cost_curves(speed[alone], look)
    return found


def training_conditions(row: Mapping[str, Any]) -> str:
    """E.g. `digits, 32×32, recipe short, fp32`."""
    how = f"recipe {row['recipe']}" if row["recipe"] else row["task"]
    return f"{row['data']}, {row['resolution']}×{row['resolution']}, {how}, {row['precision']}"
