"""What all charts of a report have in common: size, colours, fonts, and the signal that highlights a network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from ..records import SPEED_CONDITIONS
from .style import Style

WIDTH, HEIGHT = 540, 320
HIGHLIGHT = "highlight"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
# The page's style sheet replaces these where the page is dark.
QUIET, TEXT, GRID = "#767c85", "#4a4f57", "#e4e6ea"


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        kind: `profile`, `pareto`, `curve`, `speed` or the task whose section it is in.
        conditions: what holds for all of its marks, e.g. `digits, 32×32, recipe short, fp32`.
        spec: Vega-Lite, with its data.
    """

    kind: str
    title: str
    conditions: str
    caption: str
    spec: Mapping[str, Any]


def labels(rows: pd.DataFrame) -> list[str]:
    """The mixer's name, or the network's where it has none of our mixers."""
    return [mixer or network for mixer, network in zip(rows["mixer"], rows["network"], strict=True)]


def speed_labels(speed: pd.DataFrame) -> list[str]:
    """Like `labels`, with the implementation where a mixer was measured in several under the same conditions."""
    names = pd.Series(labels(speed), index=speed.index, dtype="object")
    alike = [names, *(speed[condition] for condition in (*SPEED_CONDITIONS, "scale", "fingerprint"))]
    several = speed["implementation"].groupby(alike, dropna=False).transform("nunique") > 1
    said = several & speed["implementation"].notna()
    return list(names.where(~said, names + " " + speed["implementation"].fillna("")))


def color(look: Mapping[str, Style], present: pd.Series) -> alt.Color:
    """The colour of column `label`; the page has one legend for all charts."""
    shown = [label for label in look if label in set(present)]
    colors = [look[label].color for label in shown]
    return alt.Color("label:N", scale=alt.Scale(domain=shown, range=colors), legend=None)


def dash(look: Mapping[str, Style], present: pd.Series) -> alt.StrokeDash:
    """The stroke of column `label`: controls are dashed, each in its own way."""
    shown = [label for label in look if label in set(present)]
    dashes = [list(look[label].dash) for label in shown]
    return alt.StrokeDash("label:N", scale=alt.Scale(domain=shown, range=dashes), legend=None)


def emphasis(opacity: float) -> Any:
    """`opacity` where nothing is highlighted or this label is; the page's legend sets the signal."""
    lit = f"{HIGHLIGHT} === '' || datum.label === {HIGHLIGHT}"
    return alt.when(lit).then(alt.value(opacity)).otherwise(alt.value(0.08))


def round_numbers(low: float, high: float) -> list[float]:
    """1, 2 or 5 times a power of ten between `low` and `high`: where a logarithmic axis has its lines."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    candidates = (digit * 10.0**power for power in powers for digit in (1, 2, 5))
    return [number for number in candidates if low <= number <= high]


def finish(chart: alt.LayerChart, description: str) -> dict[str, Any]:
    """The Vega-Lite of `chart`, which reads well on light and on dark."""
    return (
        chart.properties(width=WIDTH, height=HEIGHT, description=description)
        .add_params(alt.param(name=HIGHLIGHT, value=""))
        .configure(background="transparent", font=FONT, padding=6)
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=11,
            titleFontSize=12,
            titleFontWeight=500,
            titlePadding=8,
            labelColor=QUIET,
            titleColor=TEXT,
            gridColor=GRID,
            domainColor=GRID,
            tickColor=GRID,
        )
        .configure_legend(labelFontSize=11, labelColor=QUIET)
        .to_dict()
    )
