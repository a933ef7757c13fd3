"""Accuracy against cost: one mark a network, its spread over seeds, and what may be on the front that nothing beats."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt
import pandas as pd

from ..comparison import SCALES
from ..contrasts import Membership
from .chart import HEIGHT, QUIET, WIDTH, Chart, color, emphasis, finish, round_numbers
from .label_places import Box, place_labels
from .style import SCALE_SHAPES, Style

# More names than this would hide the marks; hovering still tells.
MOST_NAMES = 24
LOGARITHMIC_FROM = 8  # ratio of the largest to the smallest cost


@dataclass(frozen=True)
class Cost:
    """What a chart has on its horizontal axis: a column of `Comparison.rows` and the unit it is drawn in."""

    column: str
    name: str
    unit: str
    divisor: float = 1
    less_is_better: bool = True
    published: bool = True  # the accuracy that was published belongs to the same cost


def costs(rows: pd.DataFrame) -> list[Cost]:
    """What accuracy is held against; MACs in G where the largest network has one."""
    giga = bool((rows["macs"] >= 10**9).any())
    return [
        Cost("params", "parameters", "M", 1e6),
        Cost("macs", "MACs", "G" if giga else "M", 1e9 if giga else 1e6),
        Cost("inference_images_per_second", "inference speed", "images/s", less_is_better=False, published=False),
        Cost("training_images_per_second", "training speed", "images/s", less_is_better=False, published=False),
    ]


def pareto_charts(group: pd.DataFrame, conditions: str, look: Mapping[str, Style]) -> Iterator[Chart]:
    """A chart for each cost; speeds of different environments get charts of their own, as they do not compare."""
    for cost in costs(group):
        measured = group[group[cost.column].notna()]
        of_speed = cost.column.endswith("images_per_second")
        parts = measured.groupby("speed_environment", dropna=False) if of_speed else [(None, measured)]
        for environment, part in parts:
            if len(part) < 2:
                continue
            several = of_speed and group["speed_environment"].nunique() > 1
            better = "left" if cost.less_is_better else "right"
            yield Chart(
                kind="pareto",
                title=f"Top-1 against {cost.name}",
                conditions=f"{conditions}, environment {environment}" if several else conditions,
                caption=f"Better is up and {better}. The dashed line joins the networks that are certainly on the "
                "front: shown to be more accurate than all that cost no more, controls included. Pale: not on it, "
                "since one that costs no more is shown to be more accurate. The others may be. Bars: standard "
                "deviation over seeds. Hollow: controls."
                + (" Crosses: published top-1." if cost.published and _published(part).any() else ""),
                spec=_chart(part, cost, look),
            )


def _published(part: pd.DataFrame) -> pd.Series:
    """Where a published accuracy is of the same data, so that it may stand in the same chart."""
    return part["top1_difference"].notna()


def _points(part: pd.DataFrame, cost: Cost) -> pd.DataFrame:
    spread = part["top1_spread"].fillna(0.0)
    points = pd.DataFrame(
        {
            "label": part["label"],
            "network": [
                " ".join(text for text in (row["label"], row["scale"], row["variant"]) if text)
                for row in part.to_dict("records")
            ],
            "scale": part["scale"].fillna("its own size"),
            "control": part["control"],
            "cost": part[cost.column].astype("float64") / cost.divisor,
            "top1": part["top1_percent"],
            "low": part["top1_percent"] - spread,
            "high": part["top1_percent"] + spread,
            "accuracy": [
                f"{mean:.2f}" if math.isnan(spread) else f"{mean:.2f} ± {spread:.2f}, {seeds} seeds"
                for mean, spread, seeds in zip(part["top1_percent"], part["top1_spread"], part["seeds"], strict=True)
            ],
            "verdict": part["verdict_in_words"].fillna(""),
            "front": part[f"front_{cost.column}"].fillna(""),
            "published": part["published_top1_percent"].where(_published(part)) if cost.published else math.nan,
        }
    )
    return points.reset_index(drop=True)


def _chart(part: pd.DataFrame, cost: Cost, look: Mapping[str, Style]) -> dict[str, Any]:
    points = _points(part, cost)
    logarithmic = points["cost"].max() / points["cost"].min() > LOGARITHMIC_FROM
    x_domain = _domain(points["cost"], logarithmic)
    y_domain = _domain(points[["low", "high", "published"]].stack(), logarithmic=False)
    x_axis = alt.Axis(values=round_numbers(*x_domain), format="~g") if logarithmic else alt.Axis(tickCount=6)
    title = f"{cost.name[0].upper()}{cost.name[1:]} ({cost.unit})"
    x = alt.X("cost:Q", title=title, scale=_scale(x_domain, logarithmic), axis=x_axis)
    y = alt.Y("top1:Q", title="Top-1 (%)", scale=_scale(y_domain), axis=alt.Axis(tickCount=6))
    tooltip = [
        alt.Tooltip("network:N", title="network"),
        alt.Tooltip("accuracy:N", title="top-1 (%)"),
        alt.Tooltip("cost:Q", title=f"{cost.name} ({cost.unit})", format=",.4~g"),
        alt.Tooltip("verdict:N", title="against the best"),
        alt.Tooltip("front:N", title="front"),
        alt.Tooltip("published:Q", title="published top-1 (%)"),
    ]
    fill = color(look, points["label"])
    present = sorted(set(points["scale"]), key=lambda name: (name not in SCALES, (*SCALES, name).index(name)))
    shapes = alt.Scale(domain=present, range=[SCALE_SHAPES.get(name, "circle") for name in present])
    legend = alt.Legend(title=None, orient="bottom", symbolFillColor=QUIET, symbolStrokeWidth=0)
    shape = alt.Shape("scale:N", scale=shapes, legend=legend if len(present) > 1 else None)
    mark = {"x": x, "y": y, "color": fill, "shape": shape, "opacity": emphasis(1.0), "tooltip": tooltip}

    beaten = alt.datum.front == str(Membership.not_on_it)
    pale = alt.when(beaten).then(alt.value(0.45)).otherwise(alt.value(1.0))

    all_points = alt.Chart(points)
    certain = points[points["front"] == Membership.certainly].sort_values("cost")
    front = list(certain.index)
    front_line = alt.Chart(points.loc[front]).mark_line(
        interpolate="step-after" if cost.less_is_better else "step-before",
        strokeDash=[4, 4],
        strokeWidth=1.5,
        color=QUIET,
        tooltip=None,
    )
    layers = [
        front_line.encode(x=x, y=y, order=alt.Order("cost:Q")),
        all_points.mark_rule(strokeWidth=1.5).encode(
            x=x, y=alt.Y("low:Q", scale=_scale(y_domain)), y2="high:Q", color=fill, opacity=emphasis(0.55)
        ),
        all_points.transform_filter("!datum.control")
        .mark_point(filled=True, size=110, strokeWidth=0)
        .encode(fillOpacity=pale, **mark),
        all_points.transform_filter("datum.control")
        .mark_point(filled=False, size=90, strokeWidth=2)
        .encode(strokeOpacity=pale, **mark),
    ]
    if points["published"].notna().any():
        crosses = all_points.transform_filter("isValid(datum.published)").mark_point(
            shape="cross", size=40, filled=True
        )
        at = alt.Y("published:Q", scale=_scale(y_domain))
        layers.append(crosses.encode(x=x, y=at, color=fill, opacity=emphasis(0.8), tooltip=tooltip))
    if len(points) <= MOST_NAMES:
        names = _named(points, front, cost, _Pixels(x_domain, y_domain, logarithmic))
        dx, dy, align = (alt.expr(f"datum.{name}") for name in ("dx", "dy", "align"))
        text = alt.Chart(names).mark_text(align=align, dx=dx, dy=dy, baseline="middle", fontSize=11)
        layers.append(text.encode(x=x, y=y, text="name:N", color=fill, opacity=emphasis(1.0)))
    return finish(alt.layer(*layers), f"Top-1 against {cost.name}, one mark a network.")


@dataclass(frozen=True)
class _Pixels:
    """From numbers to pixels, as Vega will place them."""

    x_domain: tuple[float, float]
    y_domain: tuple[float, float]
    logarithmic: bool

    def x(self, value: float) -> float:
        across = math.log10 if self.logarithmic else float
        left, right = (across(limit) for limit in self.x_domain)
        return WIDTH * (across(value) - left) / (right - left)

    def y(self, value: float) -> float:
        bottom, top = self.y_domain
        return HEIGHT * (top - value) / (top - bottom)


def _named(points: pd.DataFrame, front: Sequence[int], cost: Cost, pixels: _Pixels) -> pd.DataFrame:
    """`points` with a name each and its place beside the mark, off the front and the bars."""
    places = [(pixels.x(point.cost), pixels.y(point.top1)) for point in points.itertuples()]
    lines = [
        Box(x - 1, pixels.y(point.high), x + 1, pixels.y(point.low))
        for point, (x, _) in zip(points.itertuples(), places, strict=True)
    ]
    for (x, y), (next_x, next_y) in pairwise(places[index] for index in front):
        level, corner = (y, next_x) if cost.less_is_better else (next_y, x)
        lines.append(Box(x, level - 1, next_x, level + 1))
        lines.append(Box(corner - 1, min(y, next_y), corner + 1, max(y, next_y)))
    names = points["label"] if points["scale"].nunique() == 1 else points["label"] + " " + points["scale"]
    chosen = place_labels(list(names), places, (WIDTH, HEIGHT), lines)
    return points.assign(
        name=names,
        dx=[place.dx for place in chosen],
        dy=[place.dy for place in chosen],
        align=[place.align for place in chosen],
    )


def _domain(values: pd.Series, logarithmic: bool) -> tuple[float, float]:
    """The range of `values` with room at both ends."""
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        return low / 1.25, high * 1.25
    room = 0.09 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _scale(domain: tuple[float, float], logarithmic: bool = False) -> alt.Scale:
    if logarithmic:
        return alt.Scale(domain=list(domain), type="log", nice=False)
    return alt.Scale(domain=list(domain), nice=False, zero=False)
