"""Receptive fields side by side: heat maps, how far the energy reaches, and how it grows from stage to stage."""

import base64
import io
from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from PIL import Image

from ..report.chart import Chart, color, dash, emphasis, finish
from ..report.style import Style
from ..sections import by_conditions

FAINTEST_DB = -40.0  # a ten-thousandth, as the caption says
TILE = 116
"""Pixels of the page that a heat map has, with what separates it from the next."""
SHOWN_STAGES = 4


def receptive_field_charts(observations: pd.DataFrame, look: Mapping[str, Style]) -> Iterator[Chart]:
    """For each set of conditions: heat maps of trained networks, or else untrained ones, and two comparisons."""
    for conditions, group in by_conditions(observations):
        last = group[group["stage"] == group.groupby("cell")["stage"].transform("max")]
        for state in ("trained", "untrained"):
            if (shown := group[group["state"] == state]).empty:
                continue
            yield Chart(
                kind="receptive_field",
                title=f"Effective receptive fields, {state}",
                conditions=conditions,
                caption="Squared gradient of the centre of each stage's map over the image, mean over images and "
                f"seeds. Full colour: the strongest; none: {FAINTEST_DB:.0f} dB, a ten-thousandth, or less.",
                spec=_heat_maps(shown, look),
            )
        faint = " Faint: untrained." if group["state"].nunique() > 1 else ""
        yield Chart(
            kind="receptive_field",
            title="How far the last map's centre sees",
            conditions=conditions,
            caption=f"Share of its energy within a radius around it.{faint} Dashed: controls.",
            spec=_lines(_profiles(last), look, "radius_px", "Radius (pixels of the image)", "within_percent", _WITHIN),
        )
        yield Chart(
            kind="receptive_field",
            title="How receptive fields grow",
            conditions=conditions,
            caption=f"The fewest pixels that hold 90 % of the energy of each stage's centre.{faint} Dashed: controls.",
            spec=_lines(group, look, "stage", "Stage", "energy_90_area_percent", "Area of 90 % of the energy (%)"),
        )


_WITHIN = "Energy within (%)"


def _profiles(rows: pd.DataFrame) -> pd.DataFrame:
    columns = ["label", "cell", "state", "radii_px", "within_percent"]
    exploded = rows[columns].explode(["radii_px", "within_percent"], ignore_index=True)
    return exploded.rename(columns={"radii_px": "radius_px"}).astype({"radius_px": float, "within_percent": float})


def _lines(
    rows: pd.DataFrame, look: Mapping[str, Style], x_name: str, x_title: str, y_name: str, y_title: str
) -> dict[str, Any]:
    """One line a mixer and state, means over seeds."""
    marks = rows.groupby(["label", "state", x_name], sort=False)[y_name].mean().reset_index()
    stage = x_name == "stage"
    x = alt.X(
        f"{x_name}:Q",
        title=x_title,
        scale=alt.Scale(zero=False, nice=False, padding=12 if stage else 0),
        axis=alt.Axis(values=sorted(set(marks[x_name])), format="d") if stage else alt.Axis(),
    )
    y = alt.Y(f"{y_name}:Q", title=y_title, scale=alt.Scale(domain=[0, 100], nice=False))
    tint, strokes = color(look, marks["label"]), dash(look, marks["label"])
    tooltip = [
        alt.Tooltip("label:N", title="mixer"),
        alt.Tooltip("state:N", title="weights"),
        alt.Tooltip(f"{x_name}:Q", title=x_title.lower(), format=",.4~g"),
        alt.Tooltip(f"{y_name}:Q", title=y_title.lower(), format=".1f"),
    ]
    layers = []
    states = set(marks["state"])
    for state in states:
        faint = state == "untrained" and len(states) > 1
        base = alt.Chart(marks[marks["state"] == state])
        strong = 0.35 if faint else 1.0
        layers += [
            base.mark_line(strokeWidth=1.5 if faint else 2).encode(
                x=x, y=y, color=tint, strokeDash=strokes, opacity=emphasis(strong)
            ),
            base.mark_point(filled=True, size=40 if stage else 8).encode(
                x=x, y=y, color=tint, opacity=emphasis(strong), tooltip=tooltip
            ),
        ]
    return finish(alt.layer(*layers), f"{y_title} against {x_title.lower()}, one line a mixer.")


def _heat_maps(rows: pd.DataFrame, look: Mapping[str, Style]) -> dict[str, Any]:
    stages = sorted(set(rows["stage"]))[-SHOWN_STAGES:]
    labels = [label for label in look if label in set(rows["label"])]
    tiles = [
        {
            "label": label,
            "stage": f"stage {stage}",
            "area": cells["energy_90_area_percent"].mean(),
            "picture": _picture(list(cells["heat_map_db"]), look[label].color),
        }
        for label in labels
        for stage in stages
        if not (cells := rows[(rows["label"] == label) & (rows["stage"] == stage)]).empty
    ]
    side = TILE - 8
    base = alt.Chart(pd.DataFrame(tiles)).encode(
        x=alt.X("stage:N", title=None, axis=alt.Axis(orient="top", labelAngle=0, domain=False, ticks=False)),
        y=alt.Y("label:N", title=None, sort=labels, axis=alt.Axis(domain=False, ticks=False)),
    )
    tooltip = [
        alt.Tooltip("label:N", title="mixer"),
        alt.Tooltip("stage:N"),
        alt.Tooltip("area:Q", title="area of 90 % of the energy (%)", format=".1f"),
    ]
    layers = [
        base.mark_image(width=side, height=side, smooth=False).encode(url="picture:N", opacity=emphasis(1.0)),
        base.mark_square(size=side**2, filled=False, color="#8a9099", strokeWidth=1, opacity=0.5).encode(
            tooltip=tooltip
        ),
    ]
    spec = finish(alt.layer(*layers), "Heat maps of receptive fields, one row a mixer, one column a stage.")
    return spec | {"width": TILE * len(stages), "height": TILE * len(labels)}


def _picture(heat_maps: list[list[list[int]]], colour: str) -> str:
    """A data URI: the mean over seeds, in one colour that is the less transparent the more energy there is."""
    energy = np.mean([10 ** (np.array(levels) / 10) for levels in heat_maps], axis=0)
    level = np.clip(1 - 10 * np.log10(energy / energy.max()) / FAINTEST_DB, 0, 1)
    pixels = np.empty((*level.shape, 4), np.uint8)
    pixels[..., :3] = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    pixels[..., 3] = np.round(255 * level)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
