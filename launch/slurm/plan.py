"""`platform.dry_run=true`: what would be submitted, and what that may cost. No job is made."""

import os
from collections.abc import Sequence

from rich.console import Console

from launch.cell import Cell
from launch.forecast import forecast
from launch.settings import SlurmSettings
from launch.submission import Sweep, pack
from launch.sweep import plural

from .arrays import Array, split, tasks
from .commands import SlurmError, queue
from .limits import Limits, limits
from .settle import live_jobs
from .submit import Order, script


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
    known = forecast(sweep, cells, settings, live, rerun, gpus=settings.gpus_per_node)
    console.print(known.table())
    arrays = split(pack(known.wanted, settings.cells_per_job), allowed, settings.parallel)
    for line in [*problems, known.counts(), *summary(len(known.wanted), arrays, settings, allowed), known.cost()]:
        console.print(line, highlight=False, soft_wrap=True)
    if arrays:
        code = str(sweep.launch_folder.absolute() / "code" / "…")
        text = script(Order(sweep, known.wanted, settings, code, os.getcwd()), arrays[0], f"{sweep.name}-…").text
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def summary(wanted: int, arrays: Sequence[Array], settings: SlurmSettings, allowed: Limits) -> list[str]:
    """Jobs, what each asks for, and what the cluster allows, for `wanted` cells."""
    jobs = sum(len(array.jobs) for array in arrays)
    sizes = ", ".join(str(len(array.jobs)) for array in arrays) or "none"
    throttled = f", at most {plural(settings.parallel, 'job')} at once" if settings.parallel is not None else ""
    lines = [
        f"arrays     {sizes}: {plural(jobs, 'job')}, each of {plural(settings.cells_per_job, 'cell')} and "
        f"{plural(tasks(settings), 'process')}{throttled}",
        f"job        {plural(settings.nodes, 'node')}, {plural(settings.nodes * settings.gpus_per_node, 'GPU')}, "
        f"{settings.hours:g} h; told to save {settings.signal_seconds} s before the end",
        f"limits     {allowed.array:,} jobs an array"
        + ("" if allowed.submit is None else f", {allowed.submit:,} jobs of yours, {allowed.queued:,} of them taken"),
    ]
    if waiting := wanted - sum(len(cells) for array in arrays for cells in array.jobs):
        lines.append(f"later      {waiting:,} cells, for which there is no room yet: jobs submit them when they end")
    return lines
