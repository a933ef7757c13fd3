"""`task=table`: every result so far as tables and one page."""

import sys
from dataclasses import dataclass
from pathlib import Path

from analysis.settings import MARGIN

from .analysis import AnalysisTask
from .registry import register_task, tasks_of
from .task import OverviewTask


@dataclass
class TableSettings:
    """Every record so far as tables and one HTML page.

    Attributes:
        destination: folder of the tables and the page; None is `tables` beside the records.
        fingerprint: of the only environment whose speeds are wanted; None is all.
        mixed_fingerprints: whether speeds of several environments may be ranked with each other.
        mixed_code: whether results of several versions of the code may be averaged and ranked with each other.
        margin: differences of top-1 up to this, in percentage points, are equivalent.
    """

    name: str = "table"
    destination: str | None = None
    fingerprint: str | None = None
    mixed_fingerprints: bool = False
    mixed_code: bool = False
    margin: float = MARGIN


@register_task("table")
class TableTask(OverviewTask):
    """Writes the tables and the report of the records, and prints the comparison."""

    settings = TableSettings

    def run(self, output: Path, sweep: str | None, settings: TableSettings) -> int:
        from rich.console import Console

        from analysis.comparison import NoRecordsError, SpeedEnvironmentError, compare
        from analysis.report import write_report
        from analysis.table import print_comparison, write_tables

        if not settings.margin > 0:
            print(f"task.margin={settings.margin}: must be positive, in percentage points", file=sys.stderr)
            return 2
        folder = Path(settings.destination) if settings.destination else output / (sweep or "") / "tables"
        console = Console()
        try:
            comparison = compare(
                output,
                sweep,
                fingerprint=settings.fingerprint,
                mixed_fingerprints=settings.mixed_fingerprints,
                mixed_code=settings.mixed_code,
                margin=settings.margin,
                analyses=tasks_of(AnalysisTask),
            )
            print_comparison(comparison, console)
            paths = [*write_tables(comparison, folder), write_report(comparison, folder)]
        except (NoRecordsError, SpeedEnvironmentError) as error:
            print(error, file=sys.stderr)
            return 1
        for path in paths:
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)
        return 0
