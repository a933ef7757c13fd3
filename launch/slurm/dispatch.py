"""`platform=slurm` of the command line: plan, or submit and say so, or also wait."""

from collections.abc import Sequence
from contextlib import suppress
from time import sleep

from rich.console import Console
from rich.markup import escape

from analysis.record import UnreadableRecordError, read_record
from launch.cell import Cell
from launch.execute import Outcome, opening_record
from launch.names import names_of
from launch.settings import SlurmSettings
from launch.standing import Standing, standings
from launch.submission import Sweep
from launch.summary import print_results
from launch.sweep import describe, plural, summary

from .cells import Submitted, submit_cells

LIVE = ("running", "starting", "pending")
SECONDS_BETWEEN_LOOKS = 5.0
# A job that Slurm has requeued, or has just finished, may for a moment be in neither of its answers.
LOOKS_BEFORE_GONE = 3


def submit_and_wait(
    sweep: Sweep, cells: Sequence[Cell], settings: SlurmSettings, *, rerun: bool, wait: bool, console: Console
) -> list[Outcome] | None:
    """Submit, and return the outcomes if asked to wait for them.

    Raises:
        LaunchError: the cells are not, or not all, submitted.
    """
    if settings.dry_run:
        from .plan import print_plan

        print_plan(sweep, cells, settings, rerun, console)
        return None
    report(sweep, submit_cells(sweep, cells, settings, rerun), console)
    if not wait:
        return None
    try:
        return wait_for(sweep, cells, console)
    except KeyboardInterrupt:
        console.print(f"no longer waiting; the jobs go on, `{command(sweep, 'cancel')}` ends them", soft_wrap=True)
        raise


def report(sweep: Sweep, submitted: Submitted, console: Console) -> None:
    """What was submitted, and how to follow it."""
    for submission in submitted.submissions:
        count = sum(len(cells) for cells in submission.jobs)
        console.print(f"job array {submission.job_id}: {plural(len(submission.jobs), 'job')}, {plural(count, 'cell')}")
    parts = {
        "submitted": submitted.cells,
        "done before": submitted.completed,
        "of these with other code": submitted.other_code,
        "in jobs already": submitted.live,
        "waiting for room in the queue": submitted.waiting,
        "given up": len(submitted.given_up),
    }
    console.print("; ".join(f"{count} {what}" for what, count in parts.items() if count) or "nothing to do")
    for name in submitted.given_up:
        console.print(f"  {name} died too often; `resume {sweep.name} {name}` tries again", soft_wrap=True)
    if submitted.submissions:
        console.print(f"`{command(sweep, 'status')}` tells how they do", soft_wrap=True, highlight=False)


def command(sweep: Sweep, verb: str) -> str:
    """The command line that looks after the sweep."""
    root = sweep.folder.parent
    option = "" if str(root) == "runs" else f"--output {root} "
    return f"python -m launch {option}{verb} {sweep.name}"


def wait_for(sweep: Sweep, cells: Sequence[Cell], console: Console) -> list[Outcome]:
    """Stay until no job has any of the cells left, and say how each ends. Ctrl-C ends the waiting, not the jobs."""
    open_cells = {cell.directory.name: cell for cell in cells}
    missed = dict.fromkeys(open_cells, 0)
    outcomes: list[Outcome] = []
    names = names_of(cells)
    while open_cells:
        found, problems = standings(sweep)
        for standing in found:
            cell = open_cells.get(standing.name)
            if cell is None or (problems and standing.state not in ("completed", "failed", "out_of_memory")):
                continue
            missed[standing.name] = 0 if standing.state in LIVE else missed[standing.name] + 1
            if standing.state in ("completed", "failed", "out_of_memory") or missed[standing.name] >= LOOKS_BEFORE_GONE:
                del open_cells[standing.name]
                outcomes.append(_outcome(cell, standing))
                position = f"[dim]{len(outcomes):>{len(str(len(cells)))}}/{len(cells)}[/dim]"
                console.print(f"{position} {escape(names[cell.directory])}  {describe(outcomes[-1])}", highlight=False)
        if open_cells:
            sleep(SECONDS_BETWEEN_LOOKS)
    print_results(outcomes, console)
    console.print(summary(outcomes), highlight=False)
    return outcomes


def _outcome(cell: Cell, standing: Standing) -> Outcome:
    if standing.state in ("completed", "failed", "out_of_memory"):
        with suppress(UnreadableRecordError):
            return Outcome(cell, read_record(standing.directory / "record.json"))
    # Its process could not say so itself, or not so that it can be read.
    return Outcome(cell, opening_record(cell) | {"status": "failed", "reason": f"{standing.state}: {standing.reason}"})
