"""The ability profile: how well each mixer answers each probe, with its interval, above the probe's chance level."""

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any

import altair as alt
import pandas as pd
from scipy.special import stdtrit

from ..contrasts.verdict import LEVEL
from .chart import QUIET, Chart, color, emphasis, finish
from .style import Style

PROBE = "probe_"
"""How the data sets are called that are probes, see `training.data.probes`."""


def profiles(trained: pd.DataFrame, look: Mapping[str, Style]) -> Iterator[Chart]:
    """A chart for each recipe, precision and scale with which probes were learned; rows as of a comparison."""
    probes = trained[trained["data"].str.startswith(PROBE, na=False)]
    for (_, recipe, precision, scale), rows in probes.groupby(
        ["task", "recipe", "precision", "scale"], dropna=False, sort=False
    ):
        yield Chart(
            kind="profile",
            title="Ability profile" + (f", {scale}" if isinstance(scale, str) else ""),
            conditions=f"recipe {recipe}, {precision}",
            caption="Top-1 on each probe, mean over seeds. Bars: 95 % intervals of the means by the spread over seeds, "
            "pooled over the rows of a probe, or a row's own where that is wider; none where no row has two seeds. "
            "Dashes: chance. Hollow: controls.",
            spec=_chart(_marks(rows), look),
        )


def _marks(rows: pd.DataFrame) -> pd.DataFrame:
    several = rows.groupby("data")[["resolution", "variant"]].nunique(dropna=False).max(axis=1)
    parts = []
    for data, of_probe in rows.groupby("data", sort=False):
        seeds = of_probe["seeds"].astype("float64")
        freedom = (seeds - 1).clip(lower=0)
        spreads = of_probe["top1_spread"].fillna(0)
        half = pd.Series(float("nan"), index=of_probe.index)
        if freedom.sum() > 0:
            pooled = sqrt((freedom * spreads**2).sum() / freedom.sum())
            own = spreads > pooled
            quantile = stdtrit(freedom.where(own, freedom.sum()), 0.5 + LEVEL / 2)
            half = quantile * spreads.where(own, pooled)
        mean = of_probe["top1_percent"]
        part = pd.DataFrame(
            {
                "probe": str(data).removeprefix(PROBE),
                "label": of_probe["label"],
                "row": of_probe["label"]
                if several[data] < 2
                else of_probe["label"]
                + " "
                + of_probe["resolution"].astype(str)
                + " "
                + of_probe["variant"].fillna(""),
                "control": of_probe["control"],
                "top1": mean,
                "low": (mean - half / seeds.pow(0.5)).clip(lower=0),
                "high": (mean + half / seeds.pow(0.5)).clip(upper=100),
                "chance": 100 / of_probe["num_classes"].astype("float64"),
                "seeds": seeds,
            }
        )
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _chart(marks: pd.DataFrame, look: Mapping[str, Style]) -> dict[str, Any]:
    order = [label for label in look if label in set(marks["label"])]
    rows = sorted(set(marks["row"]), key=lambda row: (order.index(row.split(" ")[0]), row))
    x = alt.X("probe:N", title=None, axis=alt.Axis(labelAngle=0), sort=list(dict.fromkeys(marks["probe"])))
    place = alt.XOffset("row:N", sort=rows)
    scale = alt.Scale(domain=[0, 100], nice=False)
    y = alt.Y("top1:Q", title="Top-1 (%)", scale=scale)
    tint = color(look, marks["label"])
    tooltip = [
        alt.Tooltip("row:N", title="mixer"),
        alt.Tooltip("probe:N", title="probe"),
        alt.Tooltip("top1:Q", title="top-1 (%)", format=".2f"),
        alt.Tooltip("low:Q", title="from (%)", format=".2f"),
        alt.Tooltip("high:Q", title="to (%)", format=".2f"),
        alt.Tooltip("chance:Q", title="chance (%)", format=".1f"),
        alt.Tooltip("seeds:Q", title="seeds"),
    ]
    base = alt.Chart(marks)
    known = alt.Chart(marks[marks["low"].notna()])
    layers = [
        base.mark_tick(color=QUIET, thickness=1.5, tooltip=None).encode(
            x=x, xOffset=place, y=alt.Y("chance:Q", scale=scale)
        ),
        known.mark_rule(strokeWidth=2, tooltip=None).encode(
            x=x, xOffset=place, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=tint, opacity=emphasis(0.7)
        ),
        base.transform_filter("!datum.control")
        .mark_point(filled=True, size=70)
        .encode(x=x, xOffset=place, y=y, color=tint, opacity=emphasis(1.0), tooltip=tooltip),
        base.transform_filter("datum.control")
        .mark_point(filled=False, size=60, strokeWidth=2)
        .encode(x=x, xOffset=place, y=y, color=tint, opacity=emphasis(1.0), tooltip=tooltip),
    ]
    return finish(alt.layer(*layers), "Top-1 on each probe, one mark a mixer, with chance levels.")
