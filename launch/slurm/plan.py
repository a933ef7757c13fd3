"""`platform.dry_run=true`: what would be submitted, and what that may cost. No job is made."""

import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.record import UnreadableRecordError, read_record
from launch.cell import Cell, identity
from launch.settings import SlurmSettings
from launch.standing import read_epochs
from launch.submission import Sweep
from launch.sweep import plural

from .arrays import Array, pack, split, tasks
from .commands import SlurmError, queue
from .limits import Limits, limits
from .settle import live_jobs
from .submit import Order, script

ROWS = 40
"""Of the cells, this many are listed one by one."""


def print_plan(sweep: Sweep, cells: Sequence[Cell], settings: SlurmSettings, rerun: bool, console: Console) -> None:
    """Cells and what is known of them, arrays, the sbatch script and the cost in GPU-hours.

    Where Slurm does not answer, the plan is made without its limits, and says so.
    """
    problems: list[str] = []
    try:
        allowed = limits(settings.account, settings.qos)
        live = live_jobs(sweep.submissions(), queue([submission.name for submission in sweep.submissions()])).cells
    except SlurmError as error:
        problems.append(f"without the cluster's limits, because Slurm does not answer: {error}")
        allowed, live = Limits(array=max(1, len(cells))), set()
    measured = measured_seconds(sweep, {cell.task for cell in cells})
    states = {cell.directory.name: state_of(sweep, cell, live, rerun) for cell in cells}
    seconds = {cell.directory.name: measured.get(kind(cell.config)) for cell in cells}
    console.print(cells_table(cells, states, seconds))
    wanted = [name for name, state in states.items() if state == "to be submitted"]
    arrays = split(pack(wanted, settings.cells_per_job), allowed, settings.parallel)
    for line in [*problems, *summary(states, arrays, settings, allowed), cost(wanted, seconds, settings)]:
        console.print(line, highlight=False, soft_wrap=True)
    if arrays:
        order = Order(sweep, wanted, settings, str(sweep.launch_folder.absolute() / "code" / "…"), os.getcwd())
        text = script(order, arrays[0], f"{sweep.name}-…").text
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def state_of(sweep: Sweep, cell: Cell, live: set[str], rerun: bool) -> str:
    if cell.directory.name in live:
        return "in a job already"
    return "completed" if not rerun and sweep.status(cell.directory.name) == "completed" else "to be submitted"


def kind(config: Mapping[str, Any]) -> str:
    """What cells of the same cost have in common: everything that defines the result, but the seed."""
    return identity({**config, "seed": None})


def measured_seconds(sweep: Sweep, kinds_of_tasks: set[str]) -> dict[str, float]:
    """How long cells of each kind take, the median over this sweep and the others beside it.

    Of a training that is not completed, the epochs so far tell.
    """
    found: dict[str, list[float]] = {}
    for path in sweep.folder.parent.glob("*/*/record.json"):
        try:
            record = read_record(path)
        except UnreadableRecordError:
            continue
        if record["task"] not in kinds_of_tasks:
            continue
        epochs = read_epochs(path.parent)
        if epochs:
            spent = sum(row["train_seconds"] + row.get("validation_seconds", 0.0) for row in epochs)
            seconds = spent / len(epochs) * record["config"]["recipe"]["epochs"]
        elif record["status"] == "completed":
            seconds = record["seconds"]
        else:
            continue
        found.setdefault(kind(record["config"]), []).append(seconds)
    return {kind_of_cell: statistics.median(values) for kind_of_cell, values in found.items()}


def cells_table(cells: Sequence[Cell], states: Mapping[str, str], seconds: Mapping[str, float | None]) -> Table:
    table = Table("cell", "", "measured time", title=f"{len(cells):,} cells")
    table.columns[2].justify = "right"
    for cell in cells[:ROWS]:
        time = seconds[cell.directory.name]
        table.add_row(cell.directory.name, states[cell.directory.name], "" if time is None else f"{time / 3600:,.3f} h")
    if len(cells) > ROWS:
        table.add_row(f"… and {len(cells) - ROWS:,} more", "", "")
    return table


def summary(states: Mapping[str, str], arrays: Sequence[Array], settings: SlurmSettings, allowed: Limits) -> list[str]:
    counted = {state: list(states.values()).count(state) for state in dict.fromkeys(states.values())}
    jobs = sum(len(array.jobs) for array in arrays)
    sizes = ", ".join(str(len(array.jobs)) for array in arrays) or "none"
    running = {array.throttle for array in arrays} - {None}
    lines = [
        "cells      " + ", ".join(f"{count:,} {state}" for state, count in counted.items()),
        f"arrays     {sizes}: {plural(jobs, 'job')}, each of {plural(settings.cells_per_job, 'cell')} and "
        f"{plural(tasks(settings), 'process')}" + (f", at most {settings.parallel} jobs at once" if running else ""),
        f"job        {plural(settings.nodes, 'node')}, {plural(settings.nodes * settings.gpus_per_node, 'GPU')}, "
        f"{settings.hours:g} h; told to save {settings.signal_seconds} s before the end",
        f"limits     {allowed.array:,} jobs an array"
        + ("" if allowed.submit is None else f", {allowed.submit:,} jobs of yours, {allowed.queued:,} of them taken"),
    ]
    packed = sum(len(cells) for array in arrays for cells in array.jobs)
    if waiting := counted.get("to be submitted", 0) - packed:
        lines.append(f"later      {waiting:,} cells, for which there is no room yet: jobs submit them when they end")
    return lines


def cost(wanted: Sequence[str], seconds: Mapping[str, float | None], settings: SlurmSettings) -> str:
    """GPU-hours where cells like these were measured, else CPU-hours; and the most that the time limits allow."""
    known = [seconds[name] for name in wanted if seconds[name] is not None]
    devices = settings.nodes * settings.gpus_per_node
    if devices and settings.packing.value == "gpus":
        devices = 1
    what = "GPU-hours" if devices else "node-hours"
    each = devices or settings.nodes
    if not known:
        return "cost       not known: no cell like these has been completed yet"
    hours = sum(known) * each / 3600
    rest = f"; {len(wanted) - len(known):,} cells are not measured" if len(known) < len(wanted) else ""
    return f"cost       {hours:,.2f} {what}, from completed cells like {len(known):,} of these{rest}"
