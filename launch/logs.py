"""What a cell, and the jobs it ran in, wrote."""

from collections.abc import Sequence
from pathlib import Path

from .submission import Sweep


def files_of(sweep: Sweep, name: str) -> list[Path]:
    """The log of each job that had the cell, the oldest first, then the cell's own."""
    jobs = [
        sweep.submission_folder(submission.name) / f"{index}.log"
        for submission in sweep.submissions()
        for index, cells in enumerate(submission.jobs)
        if name in cells
    ]
    return [path for path in (*jobs, sweep.folder / name / "log") if path.exists()]


def print_logs(sweep: Sweep, names: Sequence[str]) -> None:
    for name in names:
        files = files_of(sweep, name)
        if not files:
            print(f"== {name}: not started")
        for path in files:
            print(f"== {path}")
            print(path.read_text(encoding="utf-8", errors="replace"))
