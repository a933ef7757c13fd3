"""What cells would cost, as far as cells like them have been measured."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from analysis.record import UnreadableRecordError, read_record

from .cell import Cell, identity
from .settings import LocalSettings, Packing, SlurmSettings, platform_settings
from .standing import read_epochs
from .submission import Sweep

ROWS = 40
"""Of the cells, this many are listed one by one."""
TO_RUN = "to be run"


@dataclass(frozen=True)
class Forecast:
    """The cells of a plan: how each stands, and how many seconds of one device it takes, None where not known.

    A device is a GPU, or where there is none a whole node.
    """

    states: Mapping[str, str]
    device_seconds: Mapping[str, float | None]
    on_gpus: bool

    @property
    def wanted(self) -> list[str]:
        """The cells that are to be run."""
        return [name for name, state in self.states.items() if state == TO_RUN]

    def counts(self) -> str:
        counted = {state: list(self.states.values()).count(state) for state in dict.fromkeys(self.states.values())}
        return "cells      " + ", ".join(f"{count:,} {state}" for state, count in counted.items())

    def cost(self) -> str:
        known = [self.device_seconds[name] for name in self.wanted if self.device_seconds[name] is not None]
        if not known:
            return "cost       not known: no cell like these has been measured yet"
        what = "GPU-hours" if self.on_gpus else "node-hours"
        missing = len(self.wanted) - len(known)
        rest = f"; {missing:,} cells are like none that was" if missing else ""
        return f"cost       {sum(known) / 3600:,.2f} {what}, measured on cells like {len(known):,} of these{rest}"

    def table(self) -> Table:
        table = Table("cell", "", "GPU-hours" if self.on_gpus else "node-hours", title=f"{len(self.states):,} cells")
        table.columns[2].justify = "right"
        for name, state in list(self.states.items())[:ROWS]:
            seconds = self.device_seconds[name]
            table.add_row(name, state, "" if seconds is None else f"{seconds / 3600:,.3f}")
        if len(self.states) > ROWS:
            table.add_row(f"… and {len(self.states) - ROWS:,} more", "", "")
        return table


def forecast(
    sweep: Sweep, cells: Sequence[Cell], settings: SlurmSettings | LocalSettings, live: set[str], rerun: bool, gpus: int
) -> Forecast:
    """From the records of this sweep and the others beside it.

    Args:
        live: cells that jobs have already.
        gpus: that one process, or one job, has; 0: the cells run on CPUs.
    """
    measured = _measured(sweep, {cell.task for cell in cells}, on_gpus=gpus > 0)
    states = {cell.directory.name: _state(sweep, cell.directory.name, live, rerun) for cell in cells}
    seconds = {cell.directory.name: measured.get(kind(cell.config)) for cell in cells}
    return Forecast(states, seconds, on_gpus=gpus > 0)


def kind(config: Mapping[str, Any]) -> str:
    """What cells of the same cost have in common: everything that defines the result, but the seed."""
    return identity({**config, "seed": None})


def _state(sweep: Sweep, name: str, live: set[str], rerun: bool) -> str:
    if name in live:
        return "in a job already"
    return "completed" if not rerun and sweep.status(name) == "completed" else TO_RUN


def _measured(sweep: Sweep, tasks: set[str], on_gpus: bool) -> dict[str, float]:
    """Of each kind of cell, the median of what it took. Of a training that goes on, the epochs so far tell."""
    found: dict[str, list[float]] = {}
    for path in sweep.folder.parent.glob("*/*/record.json"):
        try:
            record = read_record(path)
        except UnreadableRecordError:
            continue
        if record["task"] not in tasks or (record["environment"].get("device", "cpu") != "cpu") != on_gpus:
            continue
        epochs = read_epochs(path.parent)
        if epochs:
            spent = sum(row["train_seconds"] + row.get("validation_seconds", 0.0) for row in epochs)
            seconds = spent / len(epochs) * record["config"]["recipe"]["epochs"]
        elif record["status"] == "completed":
            seconds = record["seconds"]
        else:
            continue
        found.setdefault(kind(record["config"]), []).append(seconds * _devices(record["config"]["platform"]))
    return {kind_of_cell: statistics.median(values) for kind_of_cell, values in found.items()}


def _devices(platform: Mapping[str, Any]) -> int:
    """On how many GPUs, or else nodes, a cell ran; 1 for what an older version of this recorded."""
    try:
        settings = platform_settings(platform)
    except ValueError:
        return 1
    if not isinstance(settings, SlurmSettings) or settings.packing is Packing.gpus:
        return 1
    return settings.nodes * max(1, settings.gpus_per_node)
