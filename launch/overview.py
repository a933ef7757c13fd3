"""The tasks about all cells at once: what `task=table` and `task=ledger` do."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console


def table(root: str, sweep: str | None, destination: str | None) -> None:
    """Write every table and the report of the records under `root`, and print the comparison."""
    from analysis.report import write_report
    from analysis.table import write_tables

    folder = Path(destination) if destination else Path(root) / (sweep or "") / "tables"
    console = Console()
    paths = [*write_tables(Path(root), folder, sweep=sweep, console=console), write_report(Path(root), folder, sweep)]
    for path in paths:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)


OVERVIEWS: Mapping[str, Callable[..., None]] = {"table": table}
