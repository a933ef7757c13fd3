"""Compare spatial token mixers: `python run.py mixer=halo scale=tiny task=complexity`; `--help` lists all choices."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from omegaconf import DictConfig, ListConfig

from conf import (
    MIXER_TASKS,
    OVERVIEW_TASKS,
    ConfigurationError,
    check_overview,
    refusal,
    register_groups,
    register_mixer_groups,
    register_overview_groups,
    to_cell,
)
from launch import LaunchError
from launch.interruption import Preempted, exit_status
from launch.terminal import accept_any_encoding


def run_cell(config: DictConfig) -> None:
    """One cell, here (a multirun goes to hydra_plugins instead). Exit status: 1 if it failed, 2 if it cannot work."""
    from launch import dispatch, nothing_failed

    with mistakes_in_a_sentence():
        cell = to_cell(config)
        if cell.is_dry_run:
            from launch.plan import print_plans

            print_plans([cell])
            return
        outcomes = dispatch([cell], rerun=config.rerun)
    sys.exit(0 if nothing_failed(outcomes or []) else 1)


def run_overview(config: DictConfig) -> None:
    from launch.overview import ledger, table

    destination = Path(config.task.destination) if config.task.destination else None
    with mistakes_in_a_sentence():
        check_overview(config)
        if config.task.name == "ledger":
            sys.exit(ledger(destination, config.task.whole))
        wanted = {key: config.task[key] for key in ("fingerprint", "mixed_fingerprints", "mixed_code", "margin")}
        sys.exit(table(Path(config.output), config.sweep, destination, **wanted))


@contextmanager
def mistakes_in_a_sentence() -> Iterator[None]:
    """Tracebacks are for bugs. What Hydra is to raise instead of printing it, main asks it to."""
    try:
        yield
    except LaunchError as error:
        sys.exit(str(error))
    except Exception as error:
        sentence = refusal(error)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        sys.exit(2)


def run_check(config: DictConfig) -> bool:
    """A mixer against its contract; whether every sentence holds. Exit status 2 if it refuses its options."""
    from rich.console import Console

    from analysis.mixer_contract import check_mixer, print_findings
    from analysis.settings import CheckSettings

    given = {key: tuple(value) if isinstance(value, ListConfig) else value for key, value in config.mixer.items()}
    name = given.pop("name")
    try:
        given = {key: value for key, value in given.items() if value is not None}
        findings = list(check_mixer(name, given, CheckSettings(**config.task)))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    print_findings(name, findings, Console())
    return all(finding.holds for finding in findings)


def main() -> None:
    accept_any_encoding()
    # Which groups exist is needed before Hydra reads the command line, so two keys are read from it here.
    given = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    sound: list[bool] = []

    def run_checks(config: DictConfig) -> None:  # of a multirun, each
        with mistakes_in_a_sentence():
            sound.append(run_check(config))

    if given.get("task") in OVERVIEW_TASKS:
        register_overview_groups()
        root, run = "overview", run_overview
    else:
        is_check = given.get("task") in MIXER_TASKS
        root, run = ("check", run_checks) if is_check else ("cell", run_cell)
        try:
            (register_mixer_groups if is_check else register_groups)(given.get("mixer_module"))
        except (FileNotFoundError, ValueError) as error:
            print(error, file=sys.stderr)
            sys.exit(2)
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with mistakes_in_a_sentence():
            hydra.main(config_path="conf", config_name=root, version_base="1.3")(run)()
    except (KeyboardInterrupt, Preempted) as stop:
        sys.exit(exit_status(stop))
    sys.exit(0 if all(sound) else 1)


if __name__ == "__main__":
    main()
