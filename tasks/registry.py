"""All tasks by name, and those that a user's file adds."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from .task import Config, MixerTask, OverviewTask, Task

AnyTask = Task | MixerTask | OverviewTask
Kind = TypeVar("Kind", bound=AnyTask)

TASKS: dict[str, AnyTask] = {}
"""Name -> task. Anybody may add to it, see `register_task`."""


def register_task(name: str) -> Callable[[type[Kind]], type[Kind]]:
    """Class decorator that makes a task known as `name`: `task=name`.

    Raises: ValueError for a name that exists, or settings that are called otherwise.
    """

    def decorate(task: type[Kind]) -> type[Kind]:
        if name in TASKS:
            raise ValueError(f"task {name!r} exists already: {type(TASKS[name]).__module__}")
        first = next(iter(fields(task.settings)), None)
        if first is None or first.name != "name" or first.default != name:
            raise ValueError(f"task {name!r}: the first field of its settings must be `name: str = {name!r}`")
        TASKS[name] = task()
        return task

    return decorate


def tasks_of(kind: type[Kind]) -> dict[str, Kind]:
    """The tasks of one kind by name: about a cell (`Task`), a mixer, or everything."""
    return {name: task for name, task in TASKS.items() if isinstance(task, kind)}


def task_of(config: Config) -> Task:
    """The task of a cell's configuration; a user's file that registers it is loaded.

    Raises: as `load_task_module`.
    """
    if config.get("task_module"):
        load_task_module(config["task_module"])
    return TASKS[config["task"]["name"]]


def load_task_module(path: str | Path) -> None:
    """Imports a user's file, so that the tasks that it registers are in `TASKS`; a file is not run twice.

    Modules beside the file can be imported by it, as for a mixer's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no Python file, or registers no task.
    """
    from mixers import load_user_file  # which takes seconds

    load_user_file(path, "task", TASKS, "@tasks.register_task(name)")
