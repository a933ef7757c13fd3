"""Where cells go: each to the platform that its configuration names."""

from collections.abc import Sequence

from rich.console import Console

from .cell import Cell
from .execute import Outcome
from .sweep import distinct, run_sweep


def dispatch(cells: Sequence[Cell], rerun: bool = False, console: Console | None = None) -> list[Outcome] | None:
    """Run `cells` here and return how each ended, or hand them over to jobs: None, nothing is known yet."""
    console = console or Console()
    cells = distinct(cells)
    if all(cell.config["platform"]["name"] == "here" for cell in cells):
        return run_sweep(cells, rerun=rerun, console=console)
    from .slurm.cells import submit_cells

    submitted = submit_cells(cells, rerun, console)
    for submission in submitted:
        console.print(f"array {submission.job_id}: {len(submission.jobs)} jobs")
    return None
