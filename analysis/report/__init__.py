"""The comparison as one HTML page that needs nothing but itself: tables to sort and filter, and charts."""

import json
from datetime import UTC, datetime
from pathlib import Path

import vl_convert

from ..comparison import Comparison
from .chart import Chart
from .charts import charts
from .page import render

__all__ = ["write_report"]

WHITE = "#ffffff"


def write_report(comparison: Comparison, folder: Path) -> Path:
    """Write `report.html` about `comparison` into `folder`, and return its path.

    Beside it, for documents, `profile` and `pareto` as `.svg` and `.png`: the first ability profile and the first chart
    of accuracy against cost, if there are any.
    """
    drawn = charts(comparison)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    page.write_text(render(comparison, drawn, now=datetime.now(UTC)), encoding="utf-8")
    for kind in ("profile", "pareto"):
        for chart in [chart for chart in drawn if chart.kind == kind][:1]:
            write_picture(chart, folder / kind)
    return page


def write_picture(chart: Chart, path: Path) -> None:
    """Write `chart` on white as an SVG and, at twice its size, as a PNG file; `path` has no ending."""
    spec = json.dumps({**chart.spec, "background": WHITE})
    path.with_suffix(".svg").write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
    path.with_suffix(".png").write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
