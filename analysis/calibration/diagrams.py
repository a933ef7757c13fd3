"""Reliability diagrams: accuracy against confidence, one line a mixer."""

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import pandas as pd

from ..report.chart import QUIET, Chart, color, dash, emphasis, finish
from ..report.style import Style
from ..sections import by_conditions

TITLES = {
    "all images": "Reliability: accuracy against confidence",
    "judged, scaled": "Reliability after temperature scaling",
}
CAPTIONS = {
    "all images": "All validation images.",
    "judged, scaled": "The half of the validation images on which no temperature was fitted.",
}
HOW = (
    "Each mark is a bin of as many images as the others of its line, with Wilson's 95 % interval; below the diagonal a "
    "network is surer than it is right."
)


def reliability_diagrams(observations: pd.DataFrame, look: Mapping[str, Style]) -> Iterator[Chart]:
    """Two charts for each set of conditions: as the networks are, and with their temperatures. Seeds are averaged."""
    for conditions, group in by_conditions(observations[observations["bins"] == "equal mass"]):
        for images, title in TITLES.items():
            shown = group[group["of"] == images]
            yield Chart(
                kind="calibration",
                title=title,
                conditions=conditions,
                caption=f"{CAPTIONS[images]} {HOW} Dashed: controls.",
                spec=_chart(shown, look),
            )


def _chart(bins: pd.DataFrame, look: Mapping[str, Style]) -> dict[str, Any]:
    columns = ["confidence_percent", "accuracy_percent", "accuracy_low_percent", "accuracy_high_percent"]
    place = bins.groupby(["label", "cell"]).cumcount().rename("place")
    marks = bins.groupby(["label", place], sort=False)[[*columns, "images"]].mean().reset_index()
    least = float(min(marks["confidence_percent"].min(), marks["accuracy_percent"].min()))
    scale = alt.Scale(domain=[max(0.0, least // 10 * 10), 100], nice=False, clamp=True)
    x = alt.X("confidence_percent:Q", title="Confidence (%)", scale=scale)
    y = alt.Y("accuracy_percent:Q", title="Accuracy (%)", scale=scale)
    tint, strokes = color(look, marks["label"]), dash(look, marks["label"])
    tooltip = [
        alt.Tooltip("label:N", title="mixer"),
        *(
            alt.Tooltip(f"{name}_percent:Q", title=f"{words} (%)", format=".2f")
            for name, words in (
                ("confidence", "confidence"),
                ("accuracy", "accuracy"),
                ("accuracy_low", "from"),
                ("accuracy_high", "to"),
            )
        ),
        alt.Tooltip("images:Q", title="images in the bin", format=".0f"),
    ]
    ends = pd.DataFrame({"confidence_percent": [0, 100], "accuracy_percent": [0, 100]})
    base = alt.Chart(marks)
    layers = [
        alt.Chart(ends).mark_line(color=QUIET, strokeWidth=1, opacity=0.5, clip=True).encode(x=x, y=y),
        base.mark_rule(strokeWidth=1.5).encode(
            x=x,
            y=alt.Y("accuracy_low_percent:Q", scale=scale),
            y2="accuracy_high_percent:Q",
            color=tint,
            opacity=emphasis(0.35),
        ),
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=tint, strokeDash=strokes, opacity=emphasis(1.0)),
        base.mark_point(filled=True, size=45).encode(x=x, y=y, color=tint, opacity=emphasis(1.0), tooltip=tooltip),
    ]
    return finish(alt.layer(*layers), "Accuracy against confidence, one line a mixer, with the diagonal.")
