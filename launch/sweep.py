"""Many cells, one after another, in this process: each ends in a record, whatever happens to the others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from .cell import Cell
from .code import other_code
from .execute import Outcome, execute
from .names import names_of
from .output import why_not_writable
from .submission import LaunchError
from .summary import print_results

STYLES = {
    "completed": "green",
    "failed": "bold red",
    "out_of_memory": "bold red",
    "preempted": "yellow",
    "running": "cyan",
}
ELSEWHERE = "at work in another process"


def distinct(cells: Sequence[Cell]) -> list[Cell]:
    """The cells without those that compute the same again (a complexity does not depend on the seed, for example)."""
    return list({cell.directory: cell for cell in cells}.values())


def run_sweep(cells: Sequence[Cell], rerun: bool = False, console: Console | None = None) -> list[Outcome]:
    """Run `cells` here in order, skip those whose record says completed, and return the outcome of each distinct one.

    A cell that fails does not stop the others. One that another process works on is looked at again after the others:
    by then it may be done, or nobody's. Every cell's `config.yaml` is written before the first one starts, so that what
    remains of an interrupted sweep is known.

    Raises: LaunchError where that cannot be.
    """
    console = console or Console()
    cells = distinct(cells)
    try:
        for cell in cells:
            cell.write_config()
    except OSError as error:
        raise LaunchError(why_not_writable(error)) from error
    names = names_of(cells)
    outcomes: dict[Path, Outcome] = {}

    def run(cell: Cell, position: str) -> None:
        before = outcomes.get(cell.directory)
        outcome = outcomes[cell.directory] = execute(cell, rerun=rerun, show_progress=console.is_terminal)
        if before is None or not outcome.is_elsewhere:
            console.print(
                f"[dim]{position}[/dim] {escape(names[cell.directory])}  {describe(outcome)}", highlight=False
            )

    for number, cell in enumerate(cells, start=1):
        run(cell, f"{number:>{len(str(len(cells)))}}/{len(cells)}")
    for cell in [cell for cell in cells if outcomes[cell.directory].is_elsewhere]:
        run(cell, "again")
    found = list(outcomes.values())
    print_results(found, console)
    console.print(summary(found), highlight=False)
    return found


def describe(outcome: Outcome) -> str:
    """One line for one cell: its state, its headline number, how long it took; of what was done before, other code."""
    record = outcome.record
    if outcome.skipped:
        code = other_code(record)
        return f"[dim]done before[/dim]{f', with {code}' if code else ''}  {headline(record['results'])}"
    style = STYLES[outcome.status]
    if outcome.is_elsewhere:
        return f"[{style}]{ELSEWHERE}[/{style}]\n    {escape(record['reason'])}"
    text = f"[{style}]{outcome.status}[/{style}]  {headline(record['results'])}"
    if record["seconds"] is not None:
        text += f"  {record['seconds']:.1f} s"
    if record["reason"]:
        text += escape(f"\n    {record['reason']}\n    see {outcome.cell.directory / 'record.json'}")
    return text


def headline(results: Mapping[str, float]) -> str:
    """What one wants to know first: the accuracy, whether data or network binds, or size and cost."""
    if "top1_percent" in results:
        return f"top-1 {results['top1_percent']:.2f} %"
    if "loader_images_per_second" in results:
        loader, step = results["loader_images_per_second"], results["step_images_per_second"]
        binds = f"the data bind: {results['data_wait_percent']:.0f} % waiting" if loader < step else "the network binds"
        return f"data {loader:,.0f} images/s, network {step:,.0f} images/s: {binds}"
    if "params" in results:
        return f"{results['params'] / 1e6:.2f} M params, {results['macs'] / 1e9:.3f} GMACs"
    return ""


def summary(outcomes: Sequence[Outcome]) -> str:
    """E.g. `36 cells: 27 completed, 8 done before, 1 failed`."""
    counts = Counter(
        "done before" if outcome.skipped else ELSEWHERE if outcome.is_elsewhere else outcome.status
        for outcome in outcomes
    )
    states = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in counts.items())
    text = f"{plural(len(outcomes), 'cell')}: {states or 'nothing to do'}"
    if counts[ELSEWHERE] and nothing_failed(outcomes):
        text += "; nothing failed: exit status 0, and the same command tells what became of the rest"
    return text


def nothing_failed(outcomes: Sequence[Outcome]) -> bool:
    """Whether each cell has its result, or another process is still at work on it."""
    return all(outcome.status == "completed" or outcome.is_elsewhere for outcome in outcomes)


def plural(count: int, noun: str) -> str:
    """`1 cell`, `2,000 cells`."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"
