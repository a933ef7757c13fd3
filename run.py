"""Compare spatial token mixers: `python run.py mixer=halo scale=tiny task=complexity`; `--help` lists all choices."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from omegaconf import DictConfig, ListConfig

from conf import (
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
from tasks import TASKS, MixerTask, OverviewTask, load_task_module


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
    from launch.output import why_not_writable

    with mistakes_in_a_sentence():
        check_overview(config)
        task = TASKS[config.task.name]
        try:
            status = task.run(Path(config.output), config.sweep, task.settings(**config.task))
        except OSError as error:
            print(why_not_writable(error), file=sys.stderr)
            status = 1
        sys.exit(status)


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


def run_on_mixer(config: DictConfig) -> bool:
    """A task about a mixer alone; whether all is well. Exit status 2 if the mixer refuses its options."""
    given = {key: tuple(value) if isinstance(value, ListConfig) else value for key, value in config.mixer.items()}
    name, task = given.pop("name"), TASKS[config.task.name]
    given = {key: value for key, value in given.items() if value is not None}
    try:
        return task.run(name, given, task.settings(**config.task))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def main() -> None:
    accept_any_encoding()
    # Which groups exist is needed before Hydra reads the command line, so three keys are read from it here.
    given = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    sound: list[bool] = []

    def run_checks(config: DictConfig) -> None:  # of a multirun, each
        with mistakes_in_a_sentence():
            sound.append(run_on_mixer(config))

    root, run = "cell", run_cell
    try:
        if given.get("task_module"):
            load_task_module(given["task_module"])
        task = TASKS.get(given.get("task", ""))
        if isinstance(task, OverviewTask):
            root, run = "overview", run_overview
            register_overview_groups()
        elif isinstance(task, MixerTask):
            root, run = "check", run_checks
            register_mixer_groups(given.get("mixer_module"))
        else:
            register_groups(given.get("mixer_module"))
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
