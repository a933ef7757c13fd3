"""A number against the strength of what was done to images or weights, one line a mixer."""

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import pandas as pd

from ..sections import by_conditions
from .chart import Chart, color, dash, emphasis, finish
from .style import Style


def strength_curves(
    observations: pd.DataFrame,
    look: Mapping[str, Style],
    metric: str,
    *,
    title: str,
    x_title: str,
    y_title: str,
    logarithmic: bool = False,
) -> Iterator[Chart]:
    """A chart for each set of conditions under which networks were asked at several strengths.

    Args:
        observations: rows with `label`, `strength`, `metric` and the conditions of a section.
        logarithmic: whether steps of `strength` are factors; 0 is left out then.
    """
    for conditions, group in by_conditions(observations):
        points = group.assign(strength=pd.to_numeric(group["strength"]))
        points = points[points[metric].notna() & ((points["strength"] > 0) | (not logarithmic))]
        if points["strength"].nunique() < 2:
            continue
        means = points.groupby(["label", "strength"])[metric].agg(mean="mean", spread="std", networks="count")
        yield Chart(
            kind="analysis",
            title=f"{title}: {y_title.split(' (')[0].lower()}",
            conditions=conditions,
            caption="Mean over seeds and draws; bars are one standard deviation to either side. Dashed: controls.",
            spec=_chart(means.reset_index(), look, x_title, y_title, logarithmic),
        )


def _chart(
    means: pd.DataFrame, look: Mapping[str, Style], x_title: str, y_title: str, logarithmic: bool
) -> dict[str, Any]:
    means = means.assign(low=means["mean"] - means["spread"], high=means["mean"] + means["spread"])
    scale = alt.Scale(type="log", nice=False) if logarithmic else alt.Scale(zero=False, nice=False)
    x = alt.X("strength:Q", title=x_title, scale=scale)
    from_data = alt.Scale(zero=False)
    y = alt.Y("mean:Q", title=y_title, scale=from_data)
    stroke = color(look, means["label"])
    tooltip = [
        alt.Tooltip("label:N", title="mixer"),
        alt.Tooltip("strength:Q", title=x_title, format="~g"),
        alt.Tooltip("mean:Q", title=y_title, format=".2f"),
        alt.Tooltip("spread:Q", title="standard deviation", format=".2f"),
        alt.Tooltip("networks:Q", title="networks"),
    ]
    lines = alt.Chart(means)
    layers = [
        lines.mark_line(strokeWidth=2).encode(
            x=x, y=y, color=stroke, strokeDash=dash(look, means["label"]), opacity=emphasis(1.0)
        ),
        lines.mark_point(filled=True, size=35).encode(x=x, y=y, color=stroke, tooltip=tooltip, opacity=emphasis(1.0)),
    ]
    spread = means[means["spread"].notna()]
    if len(spread):
        bars = alt.Chart(spread).mark_rule(strokeWidth=1)
        layers.insert(
            0, bars.encode(x=x, y=alt.Y("low:Q", scale=from_data), y2="high:Q", color=stroke, opacity=emphasis(0.6))
        )
    return finish(alt.layer(*layers), f"{y_title} against {x_title.lower()}, one line a mixer.")
