"""Look after a sweep: `python -m launch status|resume|logs SWEEP`. Only `resume` imports torch, when a cell starts."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.record import read_record

from .cell import Cell
from .interruption import Preempted, exit_status
from .sweep import STYLES, headline, run_sweep


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when every cell of the sweep is completed, 1 when not, 2 when there is no such sweep."""
    parser = argparse.ArgumentParser(prog="python -m launch", description="Look after a sweep.")
    parser.add_argument("--output", default="runs", type=Path, help="the folder that all sweeps are in (runs)")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (
        ("status", "what became of each cell"),
        ("resume", "run, here, what is not completed"),
        ("logs", "print the log of the cells whose name contains CELL"),
    ):
        subparser = commands.add_parser(command, help=text)
        subparser.add_argument("sweep")
        if command == "logs":
            subparser.add_argument("cell")
    options = parser.parse_args(arguments)
    console = Console()
    cells = sweep_cells(options.output, options.sweep)
    if not cells:
        known = sorted(path.name for path in options.output.glob("*") if path.is_dir())
        listing = f"there are {', '.join(known)}" if known else "there is none"
        print(f"no sweep {options.sweep!r} in {options.output}: {listing}", file=sys.stderr)
        return 2
    if options.command == "resume":
        outcomes = run_sweep(cells, console=console)
        return 0 if all(outcome.status == "completed" for outcome in outcomes) else 1
    if options.command == "logs":
        return print_logs(cells, options.cell)
    console.print(status_table(cells))
    return 0 if all(state(cell) == "completed" for cell in cells) else 1


def sweep_cells(output: Path, sweep: str) -> list[Cell]:
    """Every cell that the sweep planned: each left its `config.yaml` before the first one started."""
    return [Cell.read(path.parent) for path in sorted((output / sweep).glob("*/config.yaml"))]


def state(cell: Cell) -> str:
    return read_record(cell.record_path)["status"] if cell.record_path.exists() else "waiting"


def status_table(cells: Sequence[Cell]) -> Table:
    table = Table("cell", "state", "result", "seconds", "reason", title=f"{len(cells)} cells")
    table.columns[3].justify = "right"
    for cell in cells:
        if not cell.record_path.exists():
            table.add_row(cell.name, "waiting", "", "", "")
            continue
        record = read_record(cell.record_path)
        seconds = "" if record["seconds"] is None else f"{record['seconds']:.1f}"
        style = STYLES.get(record["status"], "cyan")
        table.add_row(
            cell.name,
            f"[{style}]{record['status']}[/{style}]",
            headline(record["results"]),
            seconds,
            record["reason"] or "",
        )
    return table


def print_logs(cells: Sequence[Cell], part: str) -> int:
    matching = [cell for cell in cells if part in cell.directory.name]
    for cell in matching:
        print(f"== {cell.directory.name}")
        log = cell.directory / "log"
        print(log.read_text(encoding="utf-8") if log.exists() else "not started")
    if not matching:
        print(f"no cell's name contains {part!r}; `python -m launch status` lists them", file=sys.stderr)
    return 0 if matching else 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, Preempted) as stop:
        sys.exit(exit_status(stop))
