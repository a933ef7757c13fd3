"""The HTML of a report: template, tables, cards and charts put together."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import vl_convert

from ..comparison import Comparison
from ..sections import Section
from ..table.columns import Cell, Column
from ..table.layout import Layout, lay_out_comparison, lay_out_section, lay_out_speed
from .cards import Card, cards
from .chart import Chart, labels, speed_labels
from .style import Style, styles

FOLDER = Path(__file__).parent
# Columns whose values the reader can choose among, where there are several.
FILTERS = ("scale", "data", "recipe", "task", "sweep")
UNFOLDED_ROWS = 40  # a longer table of speeds starts folded
ENVIRONMENT_KEYS = (
    "device",
    "cpu",
    "cpu_max_mhz",
    "governor",
    "threads",
    "gpu_max_mhz",
    "gpu_power_limit_w",
    "driver",
    "cuda",
    "torch",
    "timm",
    "python",
    "commit",
    "dirty",
    "fingerprint",
)


def render(comparison: Comparison, drawn: Sequence[Chart], now: datetime) -> str:
    """The whole page."""
    asked = [label for section in comparison.sections for label in section.rows["label"]]
    look = styles([*labels(comparison.rows), *labels(comparison.speed), *speed_labels(comparison.speed), *asked])
    sections = [
        _warnings(comparison.warnings),
        _cards(cards(comparison)),
        _comparison(comparison, look),
        _charts("What each mixer can do", [chart for chart in drawn if chart.kind == "profile"], look),
        _charts("Accuracy against cost", [chart for chart in drawn if chart.kind == "pareto"], look),
        _charts("Learning", [chart for chart in drawn if chart.kind == "curve"], look),
        *(
            _section(section, [chart for chart in drawn if chart.kind == section.task], look)
            for section in comparison.sections
        ),
        _speed(comparison, [chart for chart in drawn if chart.kind == "speed"], look),
        _unfinished(comparison),
        _notes(comparison),
        _environments(comparison),
    ]
    title = "Token mixers compared" + (f": {comparison.sweep}" if comparison.sweep else "")
    return Template((FOLDER / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        lead=_lead(comparison),
        facts=escape(_facts(comparison, now)),
        sections="\n".join(section for section in sections if section),
        footer=escape(f"Written {_minute(now)} by stmbench from {sum(comparison.counts.values())} records."),
        css=(FOLDER / "page.css").read_text(encoding="utf-8"),
        js=(FOLDER / "page.js").read_text(encoding="utf-8"),
        vega=_vega(),
    )


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as a script, with no end tag inside it."""
    return vl_convert.javascript_bundle().replace("</script", "<\\/script")


def _minute(time: datetime) -> str:
    return time.strftime("%d %B %Y, %H:%M UTC").lstrip("0")


def _lead(comparison: Comparison) -> str:
    rows = comparison.rows
    mixers = sorted(set(rows.loc[~rows["control"], "mixer"].dropna()))
    controls = sorted(set(rows.loc[rows["control"], "mixer"].dropna()))
    others = sorted(set(rows.loc[rows["mixer"].isna(), "network"]))
    parts = [f"{len(mixers)} mixer{'s' * (len(mixers) != 1)}"] if mixers else []
    parts += [f"{len(controls)} control{'s' * (len(controls) != 1)}"] if controls else []
    parts += [f"{len(others)} network{'s' * (len(others) != 1)} of their own"] if others else []
    seeds = rows["seeds"].dropna()
    repeated = f", up to {seeds.max()} seeds each" if len(seeds) and seeds.max() > 1 else ""
    return escape(f"{' and '.join(parts)}{repeated}. {lay_out_comparison(comparison).shared_sentence()}".strip())


def _facts(comparison: Comparison, now: datetime) -> str:
    where = []
    for environment in comparison.environments[:1]:
        device = environment.get("device")
        where.append(str(environment.get("cpu") if device == "cpu" else device))
        where += [f"torch {environment['torch']}"] if environment.get("torch") else []
        where += [f"commit {environment['commit'][:10]}"] if environment.get("commit") else []
        where += ["with uncommitted changes"] if environment.get("dirty") else []
    more = len(comparison.environments) - 1
    where += [f"and {more} more environment{'s' * (more != 1)}"] if more > 0 else []
    return " · ".join([_minute(now), *where])


def _warnings(warnings: Sequence[str]) -> str:
    return "".join(f'<p class="warning">{escape(warning)}</p>' for warning in warnings)


def _cards(found: Sequence[Card]) -> str:
    items = [
        f'<div class="card"><dt>{escape(card.name)}</dt>'
        f'<dd class="value">{escape(card.value).replace("_", "_<wbr>")}</dd>'
        f'<dd class="number">{escape(card.number)}</dd><dd class="more">{escape(card.more)}</dd></div>'
        for card in found
    ]
    return f'<dl class="cards">{"".join(items)}</dl>'


def _comparison(comparison: Comparison, look: Mapping[str, Style]) -> str:
    if comparison.rows.empty:
        return ""
    layout = lay_out_comparison(comparison)
    rows = comparison.rows.to_dict("records")
    return (
        '<section class="sortable" id="comparison"><h2>Comparison</h2>'
        '<p class="hint">Click a heading to sort. Green: better than all others; pale green and ≈: equivalent to '
        "the best within the margin; ?: unresolved; no sign: worse. Italic: controls, for proportion.</p>"
        f"{_filters(rows)}{_table(layout, rows, look, _choices(rows))}</section>"
    )


def _filters(rows: Sequence[Mapping[str, Any]]) -> str:
    selects = []
    for name in FILTERS:
        values = _values(rows, name)
        if len(values) > 1:
            options = "".join(f"<option>{escape(value)}</option>" for value in values)
            selects.append(
                f'<label>{name}<select name="{name}"><option value="">all</option>{options}</select></label>'
            )
    search = '<label>search<input type="search" placeholder="e.g. conv tiny"></label>'
    return f'<form class="filters">{search}{"".join(selects)}<output aria-live="polite"></output></form>'


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """In the order of the rows, which is that of the scales."""
    return list(dict.fromkeys(value for row in rows for value in _split(name, row[name])))


def _split(name: str, value: str | None) -> list[str]:
    if value is None:
        return []
    return value.split(", ") if name == "sweep" else [value]


def _choices(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each row the attributes that the filters look at."""
    return [
        " ".join(f'data-{name}="{escape(json.dumps(_split(name, row[name])))}"' for name in FILTERS) for row in rows
    ]


def _table(
    layout: Layout,
    rows: Sequence[Mapping[str, Any]],
    look: Mapping[str, Style],
    attributes: Sequence[str] | None = None,
) -> str:
    head = "".join(_heading(column) for column in layout.columns)
    body = []
    for index, (row, cells) in enumerate(zip(rows, layout.cells, strict=True)):
        names = "control" if row.get("control") else "", "section" if index in layout.section_starts else ""
        swatch = _swatch(look[row["mixer"] or row["network"]])
        texts = "".join(
            _cell(column, cell, is_first=place == 0, before=swatch if place == 0 else "")
            for place, (column, cell) in enumerate(zip(layout.columns, cells, strict=True))
        )
        body.append(f"<tr{_classes(*names)} {attributes[index] if attributes else ''}>{texts}</tr>")
    return (
        f'<div class="scroll" tabindex="0"><table class="in-order"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _heading(column: Column) -> str:
    unit = f'<span class="unit">{escape(column.unit)}</span>' if column.unit else ""
    button = f'<button type="button" class="sort">{escape(column.heading)}{unit}</button>'
    return f'<th scope="col"{_classes(*_kinds(column))}>{button}</th>'


def _cell(column: Column, cell: Cell, is_first: bool, before: str) -> str:
    classes = _classes(*_kinds(column), cell.mark if cell.mark != "control" else "")
    value = "" if cell.value is None else f' data-value="{escape(str(cell.value))}"'
    text = escape(cell.text)
    if text.startswith("-"):
        text = f"−{text[1:]}"
    if cell.mark == "near":
        text = f'<span title="equivalent to the best within the margin">≈ {text}</span>'
    if cell.mark == "open":
        text = f'<span title="unresolved">? {text}</span>'
    if is_first:
        return f'<th scope="row"{classes}{value}>{before}{text}</th>'
    return f"<td{classes}{value}>{text}</td>"


def _kinds(column: Column) -> tuple[str, str]:
    """What the style sheet has to know of a column: figures align to the right, extra columns are not printed."""
    return "number" if column.numeric else "", "" if column.essential else "extra"


def _classes(*names: str) -> str:
    present = " ".join(name for name in names if name)
    return f' class="{present}"' if present else ""


def _swatch(style: Style) -> str:
    return f'<span class="swatch" style="--color: {style.color}"></span>'


def _charts(heading: str, drawn: Sequence[Chart], look: Mapping[str, Style]) -> str:
    if not drawn:
        return ""
    return f'<section><h2>{escape(heading)}</h2>{_legend(look)}<div class="charts">{_figures(drawn)}</div></section>'


def _legend(look: Mapping[str, Style]) -> str:
    buttons = "".join(
        f'<button type="button" class="{"control" if style.control else ""}" style="--color: {style.color}" '
        f'aria-pressed="false" data-label="{escape(label)}">{_swatch(style)}{escape(label)}</button>'
        for label, style in look.items()
    )
    return f'<div class="legend" role="group" aria-label="Highlight in all charts">{buttons}</div>'


def _figures(drawn: Iterable[Chart]) -> str:
    return "".join(
        f'<figure class="{chart.kind}"><h3>{escape(chart.title)}</h3>'
        f'<p class="conditions">{escape(chart.conditions)}</p><div class="chart"></div>'
        f'<script type="application/json" class="spec">{_json(chart.spec)}</script>'
        f"<figcaption>{escape(chart.caption)}</figcaption></figure>"
        for chart in drawn
    )


def _json(value: Any) -> str:
    """JSON in which HTML finds no tag."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _section(section: Section, drawn: Sequence[Chart], look: Mapping[str, Style]) -> str:
    """What an analysis found: its charts, and its numbers below."""
    layout = lay_out_section(section)
    said = f"{section.analysis.says} {layout.shared_sentence()}".strip()
    figures = f'{_legend(look)}<div class="charts">{_figures(drawn)}</div>' if drawn else ""
    return (
        f'<section class="sortable" id="{escape(section.task)}"><h2>{escape(section.analysis.title)}</h2>'
        f'<p class="hint">{escape(said)}</p>{figures}{_table(layout, section.rows.to_dict("records"), look)}</section>'
    )


def _speed(comparison: Comparison, drawn: Sequence[Chart], look: Mapping[str, Style]) -> str:
    if comparison.speed.empty:
        return ""
    layout = lay_out_speed(comparison)
    table = _table(layout, comparison.speed.to_dict("records"), look)
    count = len(comparison.speed)
    unfolded = " open" if count <= UNFOLDED_ROWS else ""
    figures = f'{_legend(look)}<div class="charts">{_figures(drawn)}</div>' if drawn else ""
    return (
        f'<section class="sortable" id="speed"><h2>Speed</h2><p class="hint">{escape(layout.shared_sentence())}</p>'
        f"{figures}<details{unfolded}><summary>Every measurement ({count})</summary>{table}</details></section>"
    )


def _unfinished(comparison: Comparison) -> str:
    if comparison.unfinished.empty:
        return ""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in ("cell", "status", "sweep", "reason"))
    body = "".join(
        f'<tr><th scope="row"><code>{escape(cell["name"])}</code></th>'
        f'<td><span class="badge">{escape(cell["status"].replace("_", " "))}</span></td>'
        f"<td>{escape(cell['sweep'])}</td><td>{escape(cell['reason'] or '')}</td></tr>"
        for cell in comparison.unfinished.to_dict("records")
    )
    return (
        f'<section id="unfinished"><h2>Not completed</h2><div class="scroll wrap"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _notes(comparison: Comparison) -> str:
    items = "".join(f"<li>{escape(note.text)}</li>" for note in comparison.notes)
    return f'<section id="notes"><h2>How to read this</h2><ul class="notes">{items}</ul></section>'


def _environments(comparison: Comparison) -> str:
    if not comparison.environments:
        return ""
    lists = []
    for environment in comparison.environments:
        known = [(key, environment[key]) for key in ENVIRONMENT_KEYS if environment.get(key) is not None]
        terms = "".join(f"<dt>{escape(key)}</dt><dd>{escape(_plain(value))}</dd>" for key, value in known)
        lists.append(f'<dl class="environment">{terms}</dl>')
    return f'<section id="environment"><h2>Where it was measured</h2>{"".join(lists)}</section>'


def _plain(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
