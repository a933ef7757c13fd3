"""Costs against the size of the image, one line a mixer, with the places where lines cross."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import altair as alt
import pandas as pd

from ..report.chart import QUIET, Chart, color, dash, emphasis, finish, round_numbers
from ..report.style import Style
from ..sections import by_conditions
from .growth import crossings

HOW = (
    "Both axes are logarithmic; the grey line rises as the number of pixels does. Hollow: rectangles. Crosses: where "
    "two lines cross. Dashed: controls."
)
KEPT = "Float32, counted: what autograd keeps for the backward pass; local attention's own kernels keep less. "


def scaling_charts(observations: pd.DataFrame, look: Mapping[str, Style]) -> Iterator[Chart]:
    """For each set of conditions MACs and memory of one image; and time, where it was measured, by mode and batch."""
    for conditions, group in by_conditions(observations):
        counted = group[group["kind"] == "counted"]
        for column, factor, title, words, more in (
            ("macs", 1e-9, "MACs against the image", "GMACs an image", ""),
            ("memory_bytes_an_image", 2**-20, "Training memory against the image", "MiB kept for an image", KEPT),
        ):
            rows = counted.assign(cost=factor * counted[column])
            yield from _chart(rows, conditions, title, words, look, more)
        timed = group[(group["kind"] == "timed")]
        if timed.empty or "latency_ms" not in timed or timed["latency_ms"].isna().all():
            continue
        timed = timed[timed["latency_ms"].notna()]
        for (mode, batch_size), rows in timed.groupby(["mode", "batch_size"], sort=False):
            rows = rows.assign(cost=rows["latency_ms"] / rows["batch_size"])
            named = f"{conditions}, batch {batch_size:.0f}"
            yield from _chart(rows, named, f"Time of {mode} against the image", "Milliseconds an image", look)


def _chart(
    rows: pd.DataFrame, conditions: str, title: str, words: str, look: Mapping[str, Style], more: str = ""
) -> Iterator[Chart]:
    points = rows.groupby(["label", "rows", "columns", "pixels"], sort=False)["cost"].mean().reset_index()
    points = points.sort_values("pixels", kind="stable")
    points["square"] = points["rows"] == points["columns"]
    points["size"] = [
        f"{rows:.0f}×{columns:.0f}" for rows, columns in zip(points["rows"], points["columns"], strict=True)
    ]
    crossed = _crossings(points[points["square"]])
    said = [f"{row['pair']} at {row['side']:.0f} px" for row in crossed.to_dict("records")]
    where = f" Crossings: {', '.join(said[:6])}{', …' if len(said) > 6 else ''}." if said else ""
    yield Chart(
        kind="scaling",
        title=title,
        conditions=conditions,
        caption=more + HOW + where,
        spec=_spec(points, crossed, words, look),
    )


def _crossings(squares: pd.DataFrame) -> pd.DataFrame:
    """Where the lines of two labels cross, between sizes that both have."""
    lines = {label: group.set_index("pixels")["cost"] for label, group in squares.groupby("label", sort=False)}
    found = []
    for one, other in combinations(lines, 2):
        shared = sorted(set(lines[one].index) & set(lines[other].index))
        if len(shared) > 1:
            costs = (list(lines[label].loc[shared]) for label in (one, other))
            found += [
                {"pair": f"{one} = {other}", "pixels": pixels, "cost": cost, "side": pixels**0.5}
                for pixels, cost in crossings(shared, *costs)
            ]
    return pd.DataFrame(found, columns=["pair", "pixels", "cost", "side"])


def _spec(points: pd.DataFrame, crossed: pd.DataFrame, words: str, look: Mapping[str, Style]) -> dict[str, Any]:
    squares = points[points["square"]].drop_duplicates("pixels")
    names = {str(int(pixels)): size for pixels, size in zip(squares["pixels"], squares["size"], strict=True)}
    x = alt.X(
        "pixels:Q",
        title="Image (rows × columns)",
        scale=alt.Scale(type="log", base=2, nice=False, padding=14),
        axis=alt.Axis(values=list(squares["pixels"]), labelExpr=f"({names})[datum.value]"),
    )
    limits = points["cost"].min() / 1.6, points["cost"].max() * 1.6
    y = alt.Y(
        "cost:Q",
        title=words,
        scale=alt.Scale(type="log", domain=list(limits), nice=False, clamp=True),
        axis=alt.Axis(values=round_numbers(*limits), format=",~g"),
    )
    tint = color(look, points["label"])
    tooltip = [
        alt.Tooltip("label:N", title="mixer"),
        alt.Tooltip("size:N", title="image"),
        alt.Tooltip("cost:Q", title=words, format=",.4~g"),
    ]
    first, last = points["pixels"].min(), points["pixels"].max()
    proportional = pd.DataFrame({"pixels": [first, last], "cost": [limits[0], limits[0] * last / first]})
    base = alt.Chart(points)
    lines = base.transform_filter(alt.datum.square)
    layers = [
        alt.Chart(proportional).mark_line(color=QUIET, strokeWidth=1, opacity=0.5, clip=True).encode(x=x, y=y),
        lines.mark_line(strokeWidth=2).encode(
            x=x, y=y, color=tint, strokeDash=dash(look, points["label"]), opacity=emphasis(1.0)
        ),
        lines.mark_point(filled=True, size=40).encode(x=x, y=y, color=tint, tooltip=tooltip, opacity=emphasis(1.0)),
        base.transform_filter(~alt.datum.square)
        .mark_point(filled=False, size=50, strokeWidth=2)
        .encode(x=x, y=y, color=tint, tooltip=tooltip, opacity=emphasis(1.0)),
    ]
    if not crossed.empty:
        at = [
            alt.Tooltip("pair:N", title="as much"),
            alt.Tooltip("side:Q", title="at a side of (px)", format=".0f"),
            alt.Tooltip("cost:Q", title=words, format=",.4~g"),
        ]
        marks = alt.Chart(crossed).mark_point(shape="cross", size=70, color=QUIET, filled=True, opacity=0.9)
        layers.append(marks.encode(x=x, y=y, tooltip=at))
    return finish(alt.layer(*layers), f"{words} against the size of the image, one line a mixer.")
