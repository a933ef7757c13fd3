"""What a mixer alone costs against the resolution of its map, one line a mixer."""

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import pandas as pd

from ..records import SPEED_CONDITIONS
from .chart import Chart, color, dash, emphasis, finish, round_numbers
from .speed_curves import say
from .style import Style

ALWAYS_SAID = ("dim", "batch_size", "compiled", "precision")


def cost_curves(speed: pd.DataFrame, look: Mapping[str, Style]) -> Iterator[Chart]:
    """A chart for each set of conditions under which mixers were measured at several resolutions.

    A map is placed by its number of pixels, so that one that is not square has its place between others.
    """
    fixed = [name for name in (*SPEED_CONDITIONS, "fingerprint", "code") if name not in ("resolution", "columns")]
    said = [name for name in fixed if name != "mode" and speed[name].nunique(dropna=False) > 1]
    said = list(dict.fromkeys([*ALWAYS_SAID, *said]))
    for values, group in speed.groupby(fixed, dropna=False, sort=False):
        measured = group[group["latency_ms"].notna()]
        sides = measured["columns"].fillna(measured["resolution"])
        points = measured.assign(
            pixels=(measured["resolution"] * sides).astype("float64"),
            cost=measured["latency_ms"] / measured["batch_size"].astype("float64"),
            shape=measured["resolution"].astype(str) + "×" + sides.astype(str),
        )
        if points["pixels"].nunique() < 2:
            continue
        settings = dict(zip(fixed, values, strict=True))
        yield Chart(
            kind="speed",
            title=f"Mixers alone: cost of {settings['mode']} against resolution",
            conditions=", ".join(say(name, settings[name]) for name in said if pd.notna(settings[name])),
            caption="Median milliseconds a map; both axes are logarithmic. A cost that grows with the number of pixels "
            "rises as the grey line does. Dashed: controls.",
            spec=_chart(points, look),
        )


def _chart(points: pd.DataFrame, look: Mapping[str, Style]) -> dict[str, Any]:
    columns = ["label", "pixels", "cost", "shape", "gmacs_per_second", "gb_per_second", "latency_iqr_ms", "latency_ms"]
    points = points[columns].sort_values("pixels")
    places = points.drop_duplicates("pixels")
    names = {str(int(pixels)): shape for pixels, shape in zip(places["pixels"], places["shape"], strict=True)}
    x = alt.X(
        "pixels:Q",
        title="Map (rows × columns)",
        scale=alt.Scale(type="log", base=2, nice=False, padding=14),
        axis=alt.Axis(values=list(places["pixels"]), labelExpr=f"({names})[datum.value]"),
    )
    limits = points["cost"].min() / 1.6, points["cost"].max() * 1.6
    y = alt.Y(
        "cost:Q",
        title="Milliseconds a map",
        scale=alt.Scale(type="log", domain=list(limits), nice=False, clamp=True),
        axis=alt.Axis(values=round_numbers(*limits), format=",~g"),
    )
    stroke = color(look, points["label"])
    tooltip = [
        alt.Tooltip("label:N", title="mixer"),
        alt.Tooltip("shape:N", title="map"),
        alt.Tooltip("cost:Q", title="ms a map", format=",.3~g"),
        alt.Tooltip("gmacs_per_second:Q", title="GMAC/s", format=",.3~g"),
        alt.Tooltip("gb_per_second:Q", title="GB/s", format=",.3~g"),
    ]
    first, last = places["pixels"].min(), places["pixels"].max()
    proportional = pd.DataFrame({"pixels": [first, last], "cost": [limits[0], limits[0] * last / first]})
    guide = alt.Chart(proportional).mark_line(color="#8a9099", strokeWidth=1, opacity=0.5, clip=True)
    lines = alt.Chart(points)
    layers = [
        guide.encode(x=x, y=y),
        lines.mark_line(strokeWidth=2).encode(
            x=x, y=y, color=stroke, strokeDash=dash(look, points["label"]), opacity=emphasis(1.0)
        ),
        lines.mark_point(filled=True, size=50).encode(x=x, y=y, color=stroke, tooltip=tooltip, opacity=emphasis(1.0)),
    ]
    return finish(alt.layer(*layers), "Milliseconds a map against its resolution, one line a mixer.")
