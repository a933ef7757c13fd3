"""From composed cells to submitted ones: `platform=slurm` of the command line."""

import os
from collections.abc import Sequence

from rich.console import Console

from analysis.record import UnreadableRecordError, read_record
from launch.cell import Cell
from launch.settings import platform_settings
from launch.snapshot import freeze_mixer_module, take_snapshot
from launch.submission import Submission, Sweep

from .commands import queue
from .submit import Order, submit


def submit_cells(cells: Sequence[Cell], rerun: bool, console: Console) -> list[Submission]:
    """Freeze code and configuration of the `cells` of one sweep and platform, and submit those that need a run.

    Raises:
        SlurmError, SubmissionRefusedError, SweepBusyError: see `launch.slurm.submit` and `Sweep.lock`.
    """
    sweep = sweep_of(cells[0])
    settings = platform_settings(cells[0].config["platform"])
    with sweep.lock():
        live = live_cells(sweep)
        wanted = [
            cell
            for cell in cells
            if cell.directory.name not in live and (rerun or status_of(sweep, cell.directory.name) != "completed")
        ]
        if not wanted:
            return []
        for cell in wanted:
            Cell(freeze_mixer_module(cell.config, sweep.launch_folder / "mixer_modules")).write_config()
        code = take_snapshot(sweep.launch_folder / "code").absolute()
        order = Order(sweep, settings, code, os.getcwd(), rerun)
        return submit(order, [cell.directory.name for cell in wanted])


def sweep_of(cell: Cell) -> Sweep:
    return Sweep(cell.directory.parent)


def live_cells(sweep: Sweep) -> set[str]:
    """Cells that a job of Slurm's still has before it or at work."""
    submissions = {submission.name: submission for submission in sweep.submissions()}
    return {cell for (_, index), job in queue(list(submissions)).items() for cell in submissions[job.name].jobs[index]}


def status_of(sweep: Sweep, name: str) -> str | None:
    try:
        return read_record(sweep.folder / name / "record.json")["status"]
    except (FileNotFoundError, UnreadableRecordError):
        return None
