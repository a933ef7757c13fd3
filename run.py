"""Compare spatial token mixers: `python run.py mixer=halo scale=tiny task=complexity`; `--help` lists all choices."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from conf import OVERVIEW_TASKS, ConfigurationError, register_groups, register_overview_groups, to_cell
from launch.interruption import Preempted, exit_status


def run_cell(config: DictConfig) -> None:
    """One cell, here (a multirun goes to hydra_plugins instead). Exit status: 1 if it failed, 2 if it cannot work."""
    from launch import LaunchError, dispatch, nothing_failed

    try:
        cell = to_cell(config)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if cell.is_dry_run:
        from launch.plan import print_plans

        print_plans([cell])
        return
    try:
        outcomes = dispatch([cell], rerun=config.rerun)
    except LaunchError as error:
        sys.exit(str(error))
    sys.exit(0 if nothing_failed(outcomes or []) else 1)


def run_overview(config: DictConfig) -> None:
    from launch.overview import ledger, table

    destination = Path(config.task.destination) if config.task.destination else None
    if config.task.name == "ledger":
        sys.exit(ledger(destination, config.task.whole))
    environments = {key: config.task[key] for key in ("fingerprint", "mixed_fingerprints", "mixed_code")}
    sys.exit(table(Path(config.output), config.sweep, destination, **environments))


def main() -> None:
    # Which groups exist is needed before Hydra reads the command line, so two keys are read from it here.
    given = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    if given.get("task") in OVERVIEW_TASKS:
        register_overview_groups()
        command = hydra.main(config_path="conf", config_name="overview", version_base="1.3")(run_overview)
    else:
        try:
            register_groups(given.get("mixer_module"))
        except (FileNotFoundError, ValueError) as error:
            print(error, file=sys.stderr)
            sys.exit(2)
        command = hydra.main(config_path="conf", config_name="cell", version_base="1.3")(run_cell)
    try:
        command()
    except (KeyboardInterrupt, Preempted) as stop:
        sys.exit(exit_status(stop))


if __name__ == "__main__":
    main()
