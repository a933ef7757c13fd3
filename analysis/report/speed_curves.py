"""Speed against batch size and against resolution, one line a network."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from ..comparison import SCALES
from ..records import SPEED_CONDITIONS
from .chart import HEIGHT, Chart, color, dash, emphasis, finish, round_numbers
from .style import Style

# What is always said of a chart; other conditions are said where they differ between charts.
ALWAYS_SAID = ("scale", "compiled", "precision")


@dataclass(frozen=True)
class Variable:
    """A condition of the measurements that speed is drawn against."""

    column: str
    name: str
    title: str


VARIABLES = (
    Variable("batch_size", "batch size", "Batch size (images)"),
    Variable("resolution", "resolution", "Resolution (pixels)"),
)


def speed_curves(speed: pd.DataFrame, look: Mapping[str, Style]) -> Iterator[Chart]:
    """A chart for each set of conditions under which one of VARIABLES takes several values."""
    order = {name: index for index, name in enumerate(SCALES)}
    speed = speed.sort_values("scale", key=lambda scales: scales.map(order), kind="stable")
    for variable in VARIABLES:
        fixed = [name for name in (*SPEED_CONDITIONS, "scale", "fingerprint", "code") if name != variable.column]
        said = [name for name in fixed if name != "mode" and speed[name].nunique(dropna=False) > 1]
        said = list(dict.fromkeys([*ALWAYS_SAID, *said]))
        for values, group in speed.groupby(fixed, dropna=False, sort=False):
            measured = group[group["images_per_second"].notna()]
            if measured[variable.column].nunique() < 2:
                continue
            settings = dict(zip(fixed, values, strict=True))
            conditions = [say(name, settings[name]) for name in said if pd.notna(settings[name])]
            yield Chart(
                kind="speed",
                title=f"{settings['mode'].capitalize()} speed against {variable.name}",
                conditions=", ".join(conditions),
                caption="Median images per second; both axes are logarithmic. Dashed: controls."
                + (" × at the bottom: out of memory." if group["status"].eq("out_of_memory").any() else ""),
                spec=_chart(group, variable, look),
            )


def say(name: str, value: Any) -> str:
    if name == "compiled":
        return "compiled" if value is True else "eager"
    if name in ("precision", "scale", "memory_format"):
        return str(value)
    return f"{name.replace('_', ' ')} {value}"


def _chart(group: pd.DataFrame, variable: Variable, look: Mapping[str, Style]) -> dict[str, Any]:
    quantities = ["images_per_second", "latency_ms", "peak_memory_mib", "status"]
    points = group[["label", *quantities]].assign(value=group[variable.column].astype("float64"))
    logarithmic = alt.Scale(type="log", base=2, nice=False, padding=14)
    ticks = alt.Axis(values=sorted(set(points["value"])), format="d")
    x = alt.X("value:Q", title=variable.title, scale=logarithmic, axis=ticks)
    speeds = points["images_per_second"].dropna()
    limits = speeds.min() / 1.6, speeds.max() * 1.25
    y_axis = alt.Axis(values=round_numbers(*limits), format=",~g")
    y_scale = alt.Scale(type="log", domain=list(limits), nice=False)
    y = alt.Y("images_per_second:Q", title="Images/s", scale=y_scale, axis=y_axis)
    stroke = color(look, points["label"])
    tooltip = [
        alt.Tooltip("label:N", title="mixer"),
        alt.Tooltip("value:Q", title=variable.name),
        alt.Tooltip("images_per_second:Q", title="images/s", format=",.4~g"),
        alt.Tooltip("latency_ms:Q", title="latency (ms)", format=",.4~g"),
        alt.Tooltip("peak_memory_mib:Q", title="peak memory (MiB)", format=",.0f"),
    ]
    completed = alt.Chart(points[points["images_per_second"].notna()])
    layers = [
        completed.mark_line(strokeWidth=2).encode(
            x=x, y=y, color=stroke, strokeDash=dash(look, points["label"]), opacity=emphasis(1.0)
        ),
        completed.mark_point(filled=True, size=50).encode(
            x=x, y=y, color=stroke, tooltip=tooltip, opacity=emphasis(1.0)
        ),
    ]
    exhausted = points[points["status"] == "out_of_memory"]
    if not exhausted.empty:
        cross = alt.Chart(exhausted.drop(columns=quantities)).mark_text(text="×", fontSize=20, fontWeight="bold", dy=-8)
        tooltip = [alt.Tooltip("label:N", title="out of memory")]
        layers.append(cross.encode(x=x, y=alt.value(HEIGHT), color=stroke, tooltip=tooltip, opacity=emphasis(1.0)))
    return finish(alt.layer(*layers), f"Images per second against {variable.name}, one line a network.")
