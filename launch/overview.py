"""The tasks about all cells at once: what `task=table` and `task=ledger` do. Each returns the exit status."""

import sys
from pathlib import Path

from rich.console import Console

from .output import why_not_writable


def table(
    root: Path,
    sweep: str | None,
    destination: Path | None,
    *,
    fingerprint: str | None = None,
    mixed_fingerprints: bool = False,
    mixed_code: bool = False,
    margin: float,
) -> int:
    """Write the tables and the report of the records under `root`, of one sweep or all, and print the comparison."""
    from analysis.comparison import NoRecordsError, SpeedEnvironmentError, compare
    from analysis.report import write_report
    from analysis.table import print_comparison, write_tables

    if not margin > 0:
        print(f"task.margin={margin}: must be positive, in percentage points", file=sys.stderr)
        return 2
    folder = destination or root / (sweep or "") / "tables"
    console = Console()
    try:
        comparison = compare(
            root,
            sweep,
            fingerprint=fingerprint,
            mixed_fingerprints=mixed_fingerprints,
            mixed_code=mixed_code,
            margin=margin,
        )
        print_comparison(comparison, console)
        paths = [*write_tables(comparison, folder), write_report(comparison, folder)]
    except (NoRecordsError, SpeedEnvironmentError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(why_not_writable(error), file=sys.stderr)
        return 1
    for path in paths:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    return 0


def ledger(destination: Path | None, whole: bool = False) -> int:
    """Print where measured parameters and MACs of networks differ from published ones; write all to `destination`."""
    from analysis.ledger import ledger as compare_with_published
    from analysis.ledger import print_ledger, write_ledger

    console = Console()
    try:
        if destination:
            destination.mkdir(parents=True, exist_ok=True)  # known to be impossible before all networks are counted
        rows = compare_with_published(console=console)
        print_ledger(rows, console, whole)
        written = write_ledger(rows, destination) if destination else []
    except OSError as error:
        print(why_not_writable(error), file=sys.stderr)
        return 1
    for path in written:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    return 0
