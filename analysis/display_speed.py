"""Speed as tables for the terminal. Takes plain values, so that stored results print like fresh ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from .display import decimals
from .noise import NOISY_ABOVE_PERCENT, NOISY_SIGN, is_noisy

Row = Mapping[str, Any]

# Conditions that are said once, above the table, where they are the same in all rows.
CONDITIONS: Mapping[str, Callable[[Row], str]] = {
    "network": lambda row: row.get("name") or row.get("candidate") or "",
    "mode": lambda row: row["mode"],
    "run as": lambda row: "compiled" if row["compiled"] else "eager",
    "precision": lambda row: row["precision"],
    "by": lambda row: row.get("implementation") or "",
    "batch": lambda row: str(row["batch_size"]),
    "pixels": lambda row: size(row),
    "channels": lambda row: "" if row.get("dim") is None else str(row["dim"]),
    "threads": lambda row: str(row.get("threads") or ""),
}
NUMBERS = ("batch", "pixels", "channels", "threads")


def size(row: Row) -> str:
    """One side of a square image or map, or rows × columns."""
    columns = row.get("columns")
    return f"{row['resolution']}×{columns}" if columns else str(row["resolution"])


def speeds_table(rows: Iterable[Row]) -> Table:
    """Rows of `analysis.speed.measure`, each with a `name` if they are of several cells.

    What ran out of memory says so and has no numbers; what was too noisy has a sign that the caption explains.
    """
    rows = list(rows)
    texts = {heading: [text(row) for row in rows] for heading, text in CONDITIONS.items()}
    texts = {heading: column for heading, column in texts.items() if any(column)}
    # A single row needs no columns for what holds for it either, but for its name.
    shared = {heading for heading, column in texts.items() if heading != "network" and len(set(column)) == 1}
    conditions = [heading for heading in texts if heading not in shared]
    results = {heading: column for heading, column in _results(rows).items() if any(column)}
    table = _table(_title(rows[0], shared))
    for heading in conditions:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left")
    for heading in results:
        table.add_column(heading, justify="right")
    for index in range(len(rows)):
        cells = [texts[heading][index] for heading in conditions]
        table.add_row(*cells, *(column[index] for column in results.values()))
    if any(noisy(row) for row in rows):
        table.caption = (
            f"{NOISY_SIGN} The inter-quartile range is above {NOISY_ABOVE_PERCENT:g} % of the median: the machine was "
            "not quiet, measure again."
        )
    return table


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", caption_justify="left", box=None, pad_edge=False, header_style="bold"
    )


def _title(row: Row, shared: Iterable[str]) -> str:
    units = {"batch": "batch {}", "pixels": "{} pixels a side", "channels": "{} channels", "by": "by {}"}
    units |= {"threads": "{} thread" if row.get("threads") == 1 else "{} threads"}
    said = [units.get(heading, "{}").format(text(row)) for heading, text in CONDITIONS.items() if heading in shared]
    return ", ".join(["Speed", *said])


def noisy(row: Row) -> bool:
    """Whether a row's spread is too wide for its number to be trusted."""
    return is_noisy(row["latency_ms"], row["latency_iqr_ms"])


def _results(rows: Sequence[Row]) -> dict[str, list[str]]:
    return {
        "images/s": [_speed(row) for row in rows],
        "ms ± IQR": [latency_text(row) for row in rows],
        "GMAC/s": [decimals(row.get("gmacs_per_second"), 1) for row in rows],
        "of product": [_percent(row.get("product_share_percent")) for row in rows],
        "GB/s": [decimals(row.get("gb_per_second"), 1) for row in rows],
        "of copy": [_percent(row.get("copy_share_percent")) for row in rows],
        "peak MiB": [decimals(row["peak_memory_mib"], 0) for row in rows],
        **_speedups(rows),
    }


def _speed(row: Row) -> str:
    if row["status"] != "completed":
        return row["status"].replace("_", " ")
    return decimals(row["images_per_second"], 1)


def latency_text(row: Row) -> str:
    """E.g. `20.51 ± 0.13`, in milliseconds, with a sign behind it if that is too noisy."""
    if row["latency_ms"] is None:
        return ""
    sign = f" {NOISY_SIGN}" if noisy(row) else ""
    places = next((places for limit, places in ((0.1, 4), (1, 3), (100, 2)) if row["latency_ms"] < limit), 1)
    return f"{row['latency_ms']:.{places}f} ± {row['latency_iqr_ms']:.{places}f}{sign}"


def _speedups(rows: Sequence[Row]) -> dict[str, list[str]]:
    """One column, with the name of the reference in its heading where all have the same."""
    references = {row["speedup_over"] for row in rows if row.get("speedup") is not None}
    if len(references) == 1:
        return {f"× {references.pop()}": [_speedup(row) for row in rows]}
    return {"times as fast": [speedup_text(row) for row in rows]}


def speedup_text(row: Row) -> str:
    """E.g. `1.82 [1.79, 1.85] × eager`: the ratio, its 95 % confidence interval and what it is a multiple of."""
    return "" if row.get("speedup") is None else f"{_speedup(row)} × {row['speedup_over']}"


def _speedup(row: Row) -> str:
    if row.get("speedup") is None:
        return ""
    limits = "" if row["speedup_low"] is None else f" [{row['speedup_low']:.2f}, {row['speedup_high']:.2f}]"
    return f"{row['speedup']:.2f}{limits}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0f} %"


def curve_table(rows: Iterable[Row]) -> Table:
    """Milliseconds an image or map, one line a resolution and one column a candidate: cost against resolution."""
    rows = [row for row in rows if row["status"] == "completed"]
    names = list(dict.fromkeys(row["candidate"] for row in rows))
    table = _table("Cost against resolution: milliseconds an image")
    keys = ("mode", "compiled", "precision", "batch_size", "dim")
    differing = [key for key in keys if len({row[key] for row in rows}) > 1]
    for heading in (*(key.replace("_", " ") for key in differing), "pixels", *names):
        table.add_column(heading, justify="right")
    lines: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in rows:
        line = lines.setdefault((*(str(row[key]) for key in differing), size(row)), {})
        line[row["candidate"]] = f"{row['latency_ms'] / row['batch_size']:.3g}"
    for conditions, by_name in lines.items():
        table.add_row(*conditions, *(by_name.get(name, "") for name in names))
    return table
