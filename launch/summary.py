"""What a command prints at its end: the results of the cells it was asked for, by task."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.display import NetworkCost, networks_table, operators_table, stages_table
from analysis.display_speed import curve_table, speeds_table

from .execute import Outcome
from .names import differences_of

WIDE = 200
Differences = Mapping[Path, str]
"""Of each cell's directory, what tells the cell from those that are called the same."""


def print_results(outcomes: Sequence[Outcome], console: Console) -> None:
    """One table of all complexities, one of all speeds; a single network also by stage and by operator."""
    completed = [outcome for outcome in outcomes if outcome.status == "completed"]
    told = differences_of([outcome.cell for outcome in completed])
    complexities = [outcome for outcome in completed if outcome.cell.task == "complexity"]
    for rule in dict.fromkeys(outcome.cell.config["task"]["rule"] for outcome in complexities):
        of_rule = [outcome for outcome in complexities if outcome.cell.config["task"]["rule"] == rule]
        console.print(networks_table([_cost(outcome, told) for outcome in of_rule], rule))
    if len(outcomes) == len(complexities) == 1:
        [outcome] = complexities
        details = outcome.record["details"]
        console.print(stages_table(details["by_stage"]))
        console.print(operators_table(details["by_op"], details["rule"]))
    speeds = [outcome for outcome in completed if outcome.cell.task == "speed"]
    if speeds:
        _print_speeds(speeds, told, console)


def _print_speeds(speeds: Sequence[Outcome], told: Differences, console: Console) -> None:
    """All measurements in one table; where there are several resolutions, cost against resolution in another."""
    rows = [
        {"name": f"{_candidate_name(outcome, row)} {told[outcome.cell.directory]}".strip()} | row
        for outcome in speeds
        for row in outcome.record["rows"]
    ]
    if len({row["fingerprint"] for row in rows}) > 1:
        console.print(
            "These cells were measured in different environments, so their speeds are not put into one table. "
            "`rerun=true` measures all of them here; `task=table task.mixed_fingerprints=true` ranks them all the same."
        )
        return
    tables = [speeds_table(rows)]
    if len({(row["resolution"], row.get("columns")) for row in rows}) > 1:
        tables.append(curve_table(rows))
    if not console.is_terminal:  # In a file, lines may be as long as the tables need.
        console = Console(file=console.file, width=max(console.width, WIDE), color_system=None)
    for table in tables:
        console.print(table)


def _candidate_name(outcome: Outcome, row: Mapping[str, Any]) -> str:
    """Of a cell that compares several, and of a mixer alone, the candidate's; else the cell's, which says the scale."""
    names = {other.get("candidate") for other in outcome.record["rows"]}
    return row["candidate"] if len(names) > 1 or row.get("dim") else _name(outcome)


def _name(outcome: Outcome) -> str:
    """The mixer and its scale, or another network's own name."""
    return outcome.cell.name.removesuffix(f"-{outcome.cell.task}")


def _cost(outcome: Outcome, told: Differences) -> NetworkCost:
    config, results = outcome.cell.config, outcome.record["results"]
    unified = config["network"]["name"] == "unified"
    return NetworkCost(
        name=f"{outcome.cell.label} {told[outcome.cell.directory]}".strip(),
        scale=config["scale"] if unified else None,
        params=results["params"],
        macs=results["macs"],
        activations=results["activations"],
        **outcome.record["details"].get("network", {}),
    )
