"""Look after a sweep: `python -m launch status|resume|cancel|logs SWEEP`. Only cells that run here import torch."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from .cell import DamagedCellError
from .interruption import Preempted, exit_status
from .nearest import did_you_mean
from .submission import LaunchError, Sweep
from .sweep import nothing_failed, plural
from .sweep_name import check_sweep_name
from .terminal import accept_any_encoding


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when all went well (for status: every cell is completed), 1 when not, 2 for an unknown name."""
    options = _parser().parse_args(arguments)
    accept_any_encoding()
    try:
        check_sweep_name(options.sweep)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    sweep = Sweep(options.output / options.sweep)
    if not sweep.has_cells():
        known = sorted(path.name for path in options.output.glob("*") if Sweep(path).has_cells())
        listing = f"there are {', '.join(known)}" if known else "there is none"
        question = did_you_mean(options.sweep, known)
        print(f"no sweep {options.sweep!r} in {options.output}: {listing}{question}", file=sys.stderr)
        return 2
    try:
        return options.run(sweep, options, Console())
    except UnknownCellError as error:
        print(error, file=sys.stderr)
        return 2
    except (LaunchError, DamagedCellError) as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Preempted) as stop:
        return exit_status(stop)


class UnknownCellError(Exception):
    """A name on the command line that no cell has."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m launch", description="Look after a sweep.")
    parser.add_argument("--output", default="runs", type=Path, help="the folder that all sweeps are in (runs)")
    commands = parser.add_subparsers(dest="command", required=True)
    subparsers = {}
    for run, text in (
        (status, "what became of each cell"),
        (resume, "run what is not completed, and only that"),
        (cancel, "end the jobs of all cells, or of some"),
        (logs, "print the logs of the cells whose name contains CELL"),
    ):
        subparsers[run] = commands.add_parser(run.__name__, help=text)
        subparsers[run].add_argument("sweep")
        subparsers[run].set_defaults(run=run)
    subparsers[status].add_argument("--watch", action="store_true", help="again and again until all have ended")
    subparsers[status].add_argument("--all", action="store_true", help="every cell, however many there are")
    subparsers[status].add_argument("--json", action="store_true", help="for programs")
    subparsers[resume].add_argument(
        "what",
        nargs="*",
        metavar="CELL | platform.KEY=VALUE",
        help="only cells whose name contains this; other settings",
    )
    subparsers[resume].add_argument("--new-code", action="store_true", help="with the code as it is now")
    subparsers[cancel].add_argument("cells", nargs="*", metavar="CELL", help="only cells whose name contains this")
    subparsers[logs].add_argument("cell")
    subparsers[logs].add_argument("--json", action="store_true", help="where the files are, for programs")
    return parser


def status(sweep: Sweep, options: argparse.Namespace, console: Console) -> int:
    from .status import print_status, status_json, watch

    if options.json:
        found, text = status_json(sweep)
        print(text)
    elif options.watch:
        found = watch(sweep, console)
    else:
        found = print_status(sweep, console, options.all)
    return 0 if all(standing.state == "completed" for standing in found) else 1


def resume(sweep: Sweep, options: argparse.Namespace, console: Console) -> int:
    from .resume import parse_overrides
    from .resume import resume as run_again

    overrides = parse_overrides([text for text in options.what if "=" in text])
    parts = [text for text in options.what if "=" not in text]
    outcomes = run_again(sweep, matching(sweep, parts) if parts else [], overrides, options.new_code, console)
    return 0 if nothing_failed(outcomes or []) else 1


def cancel(sweep: Sweep, options: argparse.Namespace, console: Console) -> int:
    from .slurm.cancel import cancel as end_jobs

    count = end_jobs(sweep, matching(sweep, options.cells) if options.cells else sweep.cell_names())
    console.print(f"{plural(count, 'cell')} cancelled; `resume` runs them again")
    return 0


def logs(sweep: Sweep, options: argparse.Namespace, console: Console) -> int:
    from .logs import files_of, print_logs

    names = matching(sweep, [options.cell])
    if options.json:
        print(json.dumps({name: [str(path) for path in files_of(sweep, name)] for name in names}, indent=1))
    else:
        print_logs(sweep, names)
    return 0


def matching(sweep: Sweep, parts: Sequence[str]) -> list[str]:
    """The cells whose name contains one of `parts`.

    Raises:
        UnknownCellError: one is in no cell's name.
    """
    names = sweep.cell_names()
    for part in parts:
        if not any(part in name for name in names):
            raise UnknownCellError(
                f"no cell's name contains {part!r}; `python -m launch status {sweep.name}` lists them"
            )
    return [name for name in names if any(part in name for part in parts)]


if __name__ == "__main__":
    sys.exit(main())
