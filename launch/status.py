"""The table of a sweep: what became of each cell, or is becoming of it."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from yaml import YAMLError

from .names import differences
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
# In the order in which they stand in the table; after them, what is to be said of a cell takes the rest of its line.
NUMBERS = ("epoch", "best top-1", "images/s", "time left")
FIRST_LEFT_OUT = ("node", "images/s", "epoch", "time left", "best top-1")
"""Where the terminal is too narrow for all columns, the names of the cells come first."""
LEAST = {"cell": 38, "said": 16}
"""Columns that may be narrower than their texts, the more important first."""
GAP = 2
ROWS = 100
"""Of a larger sweep, this many cells are shown: those at work, then those that need somebody."""
REASONS = 10
"""So many that do not fit into their lines are given below the table."""
SECONDS_BETWEEN_LOOKS = 5.0


def print_status(sweep: Sweep, console: Console, every_cell: bool) -> list[Standing]:
    found, problems = standings(sweep)
    table = status_table(sweep, found, problems, rows=None if every_cell else ROWS, width=console.width)
    console.print(table)
    return found


def watch(sweep: Sweep, console: Console) -> list[Standing]:
    """The same table, again and again, until no cell is at work or waits for its turn. Ctrl-C ends it before."""
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            found, problems = standings(sweep)
            rows = max(1, console.height - 8 - len(problems))
            live.update(status_table(sweep, found, problems, rows=rows, width=console.width), refresh=True)
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


def status_table(
    sweep: Sweep, found: Sequence[Standing], problems: Sequence[str], rows: int | None, width: int
) -> RenderableType:
    """One line a cell, of at most `width` columns, for at most `rows` cells (None: all); then how many there are."""
    order = {state: number for number, state in enumerate((*STATES, "completed"))}
    shown = sorted(found, key=lambda standing: order[standing.state])[:rows]
    names = _names(sweep, found, shown)
    if len(shown) == len(found):
        by_name = sorted(range(len(names)), key=names.__getitem__)
        shown, names = [shown[index] for index in by_name], [names[index] for index in by_name]
    counts = Counter(standing.state for standing in found)
    states = ", ".join(
        f"{counts[state]:,} {state.replace('_', ' ')}" for state in ("completed", *STATES) if counts[state]
    )
    lines = [f"{len(found):,} cells: {states}"]
    if len(shown) < len(found):
        lines.append(f"{len(found) - len(shown):,} cells are not shown; --all shows them")
    columns = _columns(names, shown)
    table = _table(columns, [standing.state for standing in shown], width)
    # What somebody has to know to mend a cell is said whole, if not in its line.
    room = table.columns[-1].width
    cut = [index for index, standing in enumerate(shown) if standing.reason and len(columns["said"][index]) > room]
    lines += [f"{columns['cell'][index]}: {columns['said'][index]}" for index in cut[:REASONS]]
    texts = (Text(sweep.name, style="bold"), table, *(Text(line) for line in lines))
    return Group(*texts, *(Text(problem, style="yellow") for problem in problems))


def _columns(names: list[str], shown: Sequence[Standing]) -> dict[str, list[str]]:
    """Heading -> a text for each cell that is shown. Columns that say nothing are not there."""
    facts = [_facts(standing) for standing in shown]
    columns = {"cell": names, "state": [standing.state for standing in shown]}
    columns |= {name: [fact[name] for fact in facts] for name in ("node", *NUMBERS, "said")}
    under_way = any(standing.state != "completed" for standing in shown)
    if not under_way:
        del columns["epoch"]  # all of them
    return {name: texts for name, texts in columns.items() if any(texts) or name == "cell"}


def _table(columns: Mapping[str, Sequence[str]], states: Sequence[str], width: int) -> Table:
    """As many of the columns as fit beside names that one can still tell apart."""
    wide = {name: max(len(text) for text in (name, *texts)) for name, texts in columns.items()}
    wanted = {name: wide.get(name, 0) for name in LEAST}
    wide |= {name: min(wide[name], least) for name, least in LEAST.items() if name in wide}
    for name in FIRST_LEFT_OUT:
        if _width_of(wide) > width:
            wide.pop(name, None)
    for name in [name for name in LEAST if name in wide]:
        wide[name] = max(wide[name], min(wanted[name], wide[name] + width - _width_of(wide)))
    wide["cell"] -= max(0, min(_width_of(wide) - width, wide["cell"] // 2))
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name, columns_wide in wide.items():
        heading, justify = name if name != "said" else "", "right" if name in NUMBERS else "left"
        table.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis", width=columns_wide)
    for index, state in enumerate(states):
        texts = {name: Text(columns[name][index]) for name in wide}
        texts["cell"] = Text(shortened(columns["cell"][index], wide["cell"]))
        texts["state"].stylize(STYLES.get(state, "dim"))
        table.add_row(*texts.values())
    return table


def _width_of(columns: Mapping[str, int]) -> int:
    return sum(columns.values()) + GAP * (len(columns) - 1)


def shortened(text: str, room: int) -> str:
    """Without its middle where it is longer than `room`: names begin with the mixer and end with what differs."""
    if len(text) <= room:
        return text
    end = (room - 3) * 2 // 3
    return f"{text[: room - 3 - end]}...{text[-end:]}"


def _names(sweep: Sweep, found: Sequence[Standing], shown: Sequence[Standing]) -> list[str]:
    """Short names, of which those that several cells share say what differs in their configurations, else their id."""
    of_all, of_shown = (Counter(_short(standing.name) for standing in some) for some in (found, shown))
    names = {standing.name: _short(standing.name) for standing in shown}
    for short, count in of_shown.items():
        if of_all[short] == 1:
            continue
        group = [standing.name for standing in shown if _short(standing.name) == short]
        configs = [_config(sweep, name) for name in group] if count == of_all[short] else []
        told = differences(configs) if all(configs) else []
        apart = len(set(told)) == len(group)
        names |= {name: f"{short} {told[index]}" if apart else name for index, name in enumerate(group)}
    return list(names.values())


def _config(sweep: Sweep, name: str) -> Mapping[str, Any]:
    """Of a cell; nothing where the file cannot be read, for a status must not depend on that."""
    try:
        return sweep.cell(name).config or {}
    except (OSError, YAMLError):
        return {}


def _short(name: str) -> str:
    """Without the id, which people need only to tell cells of the same name apart."""
    return name.rpartition("-")[0]


def _facts(standing: Standing) -> dict[str, str]:
    progress = standing.progress
    epoch, epochs = progress.get("epoch"), progress.get("epochs")
    best, speed, left = (progress.get(key) for key in ("best_top1_percent", "images_per_second", "seconds_left"))
    return {
        "node": standing.node,
        "epoch": "" if epoch is None or epochs is None else f"{epoch}/{epochs}",
        "best top-1": "" if best is None else f"{best:.2f} %",
        "images/s": "" if speed is None else f"{speed:,.0f}",
        "time left": "" if left is None else duration(left),
        "said": standing.reason.splitlines()[0] if standing.reason else progress.get("result", ""),
    }


def duration(seconds: float) -> str:
    """E.g. `2 d 3 h`, `41 min`, `12 s`."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if days >= 2:
        return f"{days:.0f} d {hours % 24:.0f} h"
    if hours >= 2:
        return f"{hours:.1f} h"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"
