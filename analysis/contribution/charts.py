"""What is lost without a stage's mixers, one mark a mixer."""

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import pandas as pd

from ..report.chart import QUIET, Chart, color, emphasis, finish
from ..report.style import Style
from ..sections import by_conditions

TITLES = {
    "zero": "Lost where mixers give nothing",
    "identity": "Lost where mixers give what came in",
    "average": "Lost where mixers give their mean over the images",
}


def contribution_charts(observations: pd.DataFrame, look: Mapping[str, Style]) -> Iterator[Chart]:
    """For each set of conditions and each replacement what is lost, stage by stage; effective ranks block by block."""
    for conditions, group in by_conditions(observations):
        for way, title in TITLES.items():
            shown = group[(group["instead"] == way) & ~group["part"].str.contains("block")]
            if not shown.empty:
                yield Chart(
                    kind="contribution",
                    title=title,
                    conditions=conditions,
                    caption="Percentage points of top-1, mean over seeds, where the mixers of one stage, or all, are "
                    "replaced. Bars: 95 % intervals over the test set's images. Hollow: controls.",
                    spec=_marks(shown, look, "lost_points", "Top-1 lost (points)"),
                )
        if "effective_rank_percent" in group and not (ranked := group[group["effective_rank_percent"].notna()]).empty:
            yield Chart(
                kind="contribution",
                title="Effective rank of the mixing matrices",
                conditions=conditions,
                caption="In percent of the map's positions: 100 keeps all apart. Maps of 2 to 64 positions are "
                "measured. Hollow: controls.",
                spec=_marks(ranked, look, "effective_rank_percent", "Effective rank (%)"),
            )


def _marks(rows: pd.DataFrame, look: Mapping[str, Style], name: str, title: str) -> dict[str, Any]:
    columns = [name, *(["lost_low_points", "lost_high_points"] if name == "lost_points" else [])]
    marks = rows.groupby(["label", "part"], sort=False)[columns].mean().reset_index()
    marks["control"] = [look[label].control for label in marks["label"]]
    parts = list(dict.fromkeys(rows["part"]))
    order = [label for label in look if label in set(marks["label"])]
    x = alt.X("part:N", title=None, sort=parts, axis=alt.Axis(labelAngle=0 if len(parts) < 8 else -50))
    place = alt.XOffset("label:N", sort=order)
    y = alt.Y(f"{name}:Q", title=title)
    tint = color(look, marks["label"])
    tooltip = [
        alt.Tooltip("label:N", title="mixer"),
        alt.Tooltip("part:N", title="replaced" if name == "lost_points" else "mixer of"),
        *(
            alt.Tooltip(f"{column}:Q", title=words, format=".2f")
            for column, words in zip(columns, (title.lower(), "from", "to"), strict=False)
        ),
    ]
    base = alt.Chart(marks)
    layers = [alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=QUIET, strokeWidth=1).encode(y="zero:Q")]
    if name == "lost_points":
        layers.append(
            base.mark_rule(strokeWidth=2).encode(
                x=x, xOffset=place, y="lost_low_points:Q", y2="lost_high_points:Q", color=tint, opacity=emphasis(0.6)
            )
        )
    for control, of_kind in marks.groupby("control"):
        layers.append(
            alt.Chart(of_kind)
            .mark_point(filled=not control, size=60, strokeWidth=2)
            .encode(x=x, xOffset=place, y=y, color=tint, opacity=emphasis(1.0), tooltip=tooltip)
        )
    return finish(alt.layer(*layers), f"{title} by part of the network, one mark a mixer.")
