"""The table of a sweep: what became of each cell, or is becoming of it."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .standing import STATES, Standing, standings
from .submission import Sweep

STYLES = {
    "completed": "green",
    "failed": "bold red",
    "out_of_memory": "bold red",
    "lost": "red",
    "cancelled": "yellow",
    "preempted": "yellow",
    "running": "cyan",
    "starting": "cyan",
}
COLUMNS = (
    ("cell", "left"),
    ("state", "left"),
    ("node", "left"),
    ("epoch", "right"),
    ("best top-1", "right"),
    ("result", "left"),
    ("images/s", "right"),
    ("time left", "right"),
    ("reason", "left"),
)
"""Those with nothing in them are left out."""
ROWS = 100
"""Of a larger sweep, this many cells are shown: those at work, then those that need somebody."""
SECONDS_BETWEEN_LOOKS = 5.0


def print_status(sweep: Sweep, console: Console, every_cell: bool) -> list[Standing]:
    found, problems = standings(sweep)
    console.print(status_table(sweep, found, problems, rows=None if every_cell else ROWS))
    return found


def watch(sweep: Sweep, console: Console) -> list[Standing]:
    """The same table, again and again, until no cell is at work or waits for its turn. Ctrl-C ends it before."""
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            found, problems = standings(sweep)
            rows = max(1, console.height - 8 - len(problems))
            live.update(status_table(sweep, found, problems, rows=rows), refresh=True)
            if not {standing.state for standing in found} & {"running", "starting", "pending"}:
                return found
            time.sleep(SECONDS_BETWEEN_LOOKS)


def status_json(sweep: Sweep) -> tuple[list[Standing], str]:
    """The same for programs: one object with `sweep`, `counts`, `problems` and a list `cells`."""
    found, problems = standings(sweep)
    cells = [_plain(standing) for standing in found]
    counts = Counter(standing.state for standing in found)
    document = {"sweep": sweep.name, "counts": counts, "problems": list(problems), "cells": cells}
    return found, json.dumps(document, indent=1)


def _plain(standing: Standing) -> dict[str, Any]:
    values = asdict(standing) | {"directory": str(standing.directory), "cell": standing.name}
    del values["has_record"]
    return values | dict(standing.progress)


def status_table(sweep: Sweep, found: Sequence[Standing], problems: Sequence[str], rows: int | None) -> RenderableType:
    """At most `rows` cells; None: all."""
    order = {state: number for number, state in enumerate((*STATES, "completed"))}
    shown = sorted(found, key=lambda standing: order[standing.state])[:rows]
    shown = found if len(shown) == len(found) else shown
    alike = Counter(_short(standing.name) for standing in found)
    rows_of_text = [
        [_short(standing.name) if alike[_short(standing.name)] == 1 else standing.name, *_facts(standing)]
        for standing in shown
    ]
    table = Table(title=sweep.name)
    kept = [number for number in range(len(COLUMNS)) if any(row[number] for row in rows_of_text)]
    for number in kept:
        name, justify = COLUMNS[number]
        table.add_column(name, justify=justify, no_wrap=name not in ("cell", "reason"), overflow="fold")
    for row in rows_of_text:
        table.add_row(*(row[number] for number in kept))
    counts = Counter(standing.state for standing in found)
    states = ", ".join(
        f"{counts[state]:,} {state.replace('_', ' ')}" for state in ("completed", *STATES) if counts[state]
    )
    lines = [f"{len(found):,} cells: {states}"]
    if len(shown) < len(found):
        lines.append(f"{len(found) - len(shown):,} cells are not shown; --all shows them")
    return Group(table, *(Text(line) for line in lines), *(Text(problem, style="yellow") for problem in problems))


def _short(name: str) -> str:
    """Without the id, which people need only to tell cells of the same name apart."""
    return name.rpartition("-")[0]


def _facts(standing: Standing) -> list[str]:
    progress, style = standing.progress, STYLES.get(standing.state, "dim")
    epoch, epochs = progress.get("epoch"), progress.get("epochs")
    best, speed, left = (progress.get(key) for key in ("best_top1_percent", "images_per_second", "seconds_left"))
    return [
        f"[{style}]{standing.state}[/{style}]",
        standing.node,
        "" if epoch is None or epochs is None else f"{epoch}/{epochs}",
        "" if best is None else f"{best:.2f} %",
        progress.get("result", ""),
        "" if speed is None else f"{speed:,.0f}",
        "" if left is None else duration(left),
        escape(standing.reason.splitlines()[0] if standing.reason else ""),
    ]


def duration(seconds: float) -> str:
    """E.g. `2 d 3 h`, `41 min`, `12 s`."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if days >= 2:
        return f"{days:.0f} d {hours % 24:.0f} h"
    if hours >= 2:
        return f"{hours:.1f} h"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"
