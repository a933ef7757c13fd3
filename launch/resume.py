"""Run again what is not completed, each cell where its configuration says, or where the command line says now."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console

from .cell import Cell
from .code import other_code
from .execute import Outcome
from .settings import SlurmSettings, platform_settings
from .submission import LaunchError, Sweep
from .sweep import plural


def resume(
    sweep: Sweep, names: Sequence[str], overrides: Mapping[str, Any], new_code: bool, console: Console
) -> list[Outcome] | None:
    """The outcomes of cells that ran on this machine, or None where all went to Slurm.

    Args:
        names: cells to run, also those that died too often; none: every cell that is not completed.
        overrides: keys of `platform` that replace those of the cells.

    Raises:
        LaunchError: a cell cannot be started.
    """
    statuses = {name: sweep.status(name) for name in names or sweep.cell_names()}
    wanted = [name for name, status in statuses.items() if status != "completed"]
    _tell_of_other_code(sweep, [name for name in statuses if name not in wanted], console)
    cells = {name: with_platform(sweep.cell(name), overrides) for name in wanted}
    try:
        settings = {name: platform_settings(cell.config["platform"]) for name, cell in cells.items()}
    except ValueError as error:
        raise LaunchError(str(error)) from error
    on_slurm = {name: value for name, value in settings.items() if isinstance(value, SlurmSettings)}
    if on_slurm:
        from .slurm.cells import resubmit
        from .slurm.dispatch import report

        report(sweep, resubmit(sweep, on_slurm, insist=bool(names), new_code=new_code), console)
    here = [cell for name, cell in cells.items() if name not in on_slurm]
    if not here and (on_slurm or not wanted):
        if not wanted:
            console.print("nothing to do")
        return None if on_slurm else []
    from .dispatch import dispatch

    return dispatch(here, console=console)


def _tell_of_other_code(sweep: Sweep, completed: Sequence[str], console: Console) -> None:
    others = [name for name in completed if other_code(sweep.record(name))]
    if others:
        console.print(
            f"{plural(len(others), 'completed cell')} of other code than today's, left as they are, e.g. {others[0]} "
            f"with {other_code(sweep.record(others[0]))}; rerun=true with the sweep's own command measures all again",
            soft_wrap=True,
            highlight=False,
        )


def with_platform(cell: Cell, overrides: Mapping[str, Any]) -> Cell:
    device = (cell.config.get("contents") or {}).get("device")
    if device and (changed := sorted(overrides.keys() & {"name", "gpus_per_node", *device})):
        raise LaunchError(
            f"{cell.name} measures a time, which belongs to the device that platform.{changed[0]} helps to choose: "
            "give the sweep's own command with it instead"
        )
    platform = {**cell.config["platform"], **overrides}
    return Cell({**cell.config, "platform": platform}, cell.found_in)


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """`platform.hours=48` as the pair it means.

    Raises:
        LaunchError: it is none.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key.startswith("platform.") or not equals:
            raise LaunchError(f"{text} is not platform.KEY=VALUE: what a cell computes cannot be changed, only where")
        try:
            found[key.removeprefix("platform.")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise LaunchError(f"{text}: the value is not understood; quote what has signs in it") from error
    return found
