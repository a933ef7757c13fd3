"""Where cells go: each to the platform that its configuration names."""

from collections.abc import Sequence

from rich.console import Console

from .cell import Cell
from .execute import Outcome
from .output import check_output
from .settings import LocalSettings, PlatformSettings, SlurmSettings, platform_settings
from .submission import Sweep
from .sweep import distinct, run_sweep


def dispatch(
    cells: Sequence[Cell], rerun: bool = False, console: Console | None = None, wait: bool = False
) -> list[Outcome] | None:
    """Run `cells` and return how each distinct one ended; None where jobs do that and nobody waits for them.

    Args:
        wait: stay until the last job has ended, whatever `platform.wait` says.

    Raises:
        LaunchError: some cells cannot be started.
        Preempted, KeyboardInterrupt: asked to stop.
    """
    console = console or Console()
    outcomes: list[Outcome] = []
    waits = True
    found_groups = groups(distinct(cells))
    for sweep, _, _ in found_groups:
        check_output(sweep)
    for sweep, settings, group in found_groups:
        if isinstance(settings, SlurmSettings):
            from .slurm.dispatch import submit_and_wait

            found = submit_and_wait(sweep, group, settings, rerun=rerun, wait=wait or settings.wait, console=console)
            waits = waits and found is not None
            outcomes += found or []
        elif isinstance(settings, LocalSettings):
            from .local import print_plan, run_local

            if settings.dry_run:
                print_plan(sweep, group, settings, rerun, console)
                waits = False
                continue
            outcomes += run_local(sweep, group, settings, rerun, console)
        else:
            outcomes += run_sweep(group, rerun=rerun, console=console)
    return outcomes if waits else None


def groups(cells: Sequence[Cell]) -> list[tuple[Sweep, PlatformSettings, list[Cell]]]:
    """The cells that belong to one sweep and go to one platform, with the same settings."""
    found: dict[str, tuple[Sweep, PlatformSettings, list[Cell]]] = {}
    for cell in cells:
        sweep, platform = Sweep(cell.directory.parent), cell.config["platform"]
        group = found.setdefault(
            f"{sweep.folder} {sorted(platform.items(), key=str)}", (sweep, platform_settings(platform), [])
        )
        group[2].append(cell)
    return list(found.values())
