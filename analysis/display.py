"""Complexity as tables for the terminal. Takes plain values, so that stored results print like fresh ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class NetworkCost:
    """One row of `networks_table`. Published values are as printed, counted by whatever rule their source names.

    `budget`, `dims` and `depths` are the unified network's: by what rule it got its size, and what it got.
    """

    name: str
    scale: str | None
    params: int
    macs: int
    activations: int
    budget: str | None = None
    dims: Sequence[int] = ()
    depths: Sequence[int] = ()
    published_params: float | None = None
    published_macs: float | None = None


def networks_table(costs: Sequence[NetworkCost], rule: str = "macs") -> Table:
    """Parameters, MACs and activations of several networks, one a row; published values where any is known."""
    published = any(cost.published_params or cost.published_macs for cost in costs)
    table = Table(title=_title("Complexity of one image", rule))
    table.add_column("mixer or network")
    table.add_column("scale")
    sized = any(cost.budget for cost in costs)
    if sized:
        for heading in ("budget", "dims", "depths"):
            table.add_column(heading)
    for heading in ("params M", "MACs G", "activations M"):
        table.add_column(heading, justify="right")
    if published:
        for heading in ("published params M", "published MACs G"):
            table.add_column(heading, justify="right")
    for cost in costs:
        cells = [_millions(cost.params), _billions(cost.macs), _millions(cost.activations)]
        if published:
            cells += [_millions(cost.published_params), _billions(cost.published_macs)]
        size = [cost.budget or "", _listed(cost.dims), _listed(cost.depths)] if sized else []
        table.add_row(cost.name, cost.scale or "", *size, *cells)
    return table


def stages_table(by_stage: Iterable[Mapping[str, Any]]) -> Table:
    """Where in a network its parameters, MACs and activations are. Takes `Complexity.by_stage` as plain mappings."""
    stages = list(by_stage)
    total = {key: sum(stage[key] for stage in stages) for key in ("params", "macs", "activations")}
    table = Table(title="By stage")
    table.add_column("stage")
    for heading in ("params M", "MACs G", "share of MACs", "activations M"):
        table.add_column(heading, justify="right")
    for stage in stages:
        _add_stage(table, stage["name"], stage, total["macs"])
    table.add_section()
    _add_stage(table, "total", total, total["macs"])
    return table


def _add_stage(table: Table, name: str, cost: Mapping[str, Any], whole: int) -> None:
    table.add_row(
        name,
        _millions(cost["params"]),
        _billions(cost["macs"]),
        _share(cost["macs"], whole),
        _millions(cost["activations"]),
    )


def operators_table(by_op: Mapping[str, int], rule: str = "macs") -> Table:
    """MACs by kind of operator. Takes `Complexity.by_op`."""
    whole = sum(by_op.values())
    table = Table(title=_title("By kind of operator", rule))
    table.add_column("operator")
    table.add_column("MACs G", justify="right")
    table.add_column("share", justify="right")
    for kind, macs in by_op.items():
        table.add_row(kind.replace("_", " "), _billions(macs), _share(macs, whole))
    return table


def _listed(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


def _title(text: str, rule: str) -> str:
    return text if rule == "macs" else f"{text}, counted by the rule {rule}"


def decimals(number: float | None, places: int) -> str:
    """An empty cell where there is no number."""
    return "" if number is None else f"{number:.{places}f}"


def _millions(number: float | None) -> str:
    return decimals(None if number is None else number / 1e6, 2)


def _billions(number: float | None) -> str:
    return decimals(None if number is None else number / 1e9, 3)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
