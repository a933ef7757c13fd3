"""Accuracy after each epoch, one line a network."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import pandas as pd

from .chart import Chart, color, dash, emphasis, finish
from .style import Style


def learning_curves(
    group: pd.DataFrame, curves: pd.DataFrame, conditions: str, look: Mapping[str, Style]
) -> Iterator[Chart]:
    """A chart for each scale in `group`, which are rows of a comparison; `curves` is the comparison's."""
    for scale, rows in group.groupby("scale", dropna=False, sort=False):
        epochs = curves[curves["row"].isin(rows.index)].join(rows[["label", "variant"]], on="row")
        epochs = epochs[epochs["top1_percent"].notna()]
        if epochs["epoch"].nunique() < 2:
            continue
        by_epoch = epochs.groupby(["row", "label", "epoch"])["top1_percent"]
        yield Chart(
            kind="curve",
            title="Learning curves" + (f", {scale}" if isinstance(scale, str) else ""),
            conditions=conditions,
            caption="Top-1 on the validation images after each epoch, mean over seeds; the band is one standard "
            "deviation to either side. Dashed: controls.",
            spec=_chart(by_epoch.agg(top1="mean", spread="std", seeds="count").reset_index(), look),
        )


def _chart(means: pd.DataFrame, look: Mapping[str, Style]) -> dict[str, Any]:
    means = means.assign(low=means["top1"] - means["spread"], high=means["top1"] + means["spread"])
    first, last = int(means["epoch"].min()), int(means["epoch"].max())
    epochs = range(0, last + 1, math.ceil(last / 12))
    ticks = alt.Axis(values=[epoch for epoch in epochs if epoch >= first], format="d")
    x = alt.X("epoch:Q", title="Epoch", axis=ticks, scale=alt.Scale(nice=False, zero=False))
    stroke = color(look, means["label"])
    from_data = alt.Scale(zero=False)
    y = alt.Y("top1:Q", title="Top-1 (%)", scale=from_data)
    tooltip = [
        alt.Tooltip("label:N", title="mixer"),
        alt.Tooltip("epoch:Q", title="epoch"),
        alt.Tooltip("top1:Q", title="top-1 (%)", format=".2f"),
        alt.Tooltip("spread:Q", title="standard deviation", format=".2f"),
        alt.Tooltip("seeds:Q", title="seeds"),
    ]
    band = alt.Chart(means[means["spread"].notna()]).mark_area(tooltip=None)
    line = alt.Chart(means).mark_line(strokeWidth=2)
    # Invisible, but easier to point at than a line.
    target = alt.Chart(means).mark_point(filled=True, size=60)
    layers = [
        band.encode(
            x=x, y=alt.Y("low:Q", scale=from_data), y2="high:Q", color=stroke, detail="row:N", opacity=emphasis(0.15)
        ),
        line.encode(
            x=x, y=y, color=stroke, strokeDash=dash(look, means["label"]), detail="row:N", opacity=emphasis(1.0)
        ),
        target.encode(x=x, y=y, color=stroke, opacity=alt.value(0.0), tooltip=tooltip),
    ]
    return finish(alt.layer(*layers), "Top-1 after each epoch, one line a network.")
