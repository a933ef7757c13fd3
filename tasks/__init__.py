"""WHAT a cell computes: one task, one file. A task ties a configuration to training or analysis.

A file placed in this folder is imported here and registers its task; nothing else needs an edit. Importing this package
needs neither torch nor Hydra, so that commands start fast: a task imports what it works with when it runs.
`from_config` has what several tasks make of a configuration.
"""

import importlib
import pkgutil

from .analysis import AnalysisTask
from .hooks import Hooks
from .registry import TASKS, load_task_module, register_task, task_of, tasks_of
from .task import CellOfTask, MixerTask, OverviewTask, Results, Task

for _file in pkgutil.iter_modules(__path__):
    if not _file.ispkg:
        importlib.import_module(f".{_file.name}", __name__)

__all__ = [
    "TASKS",
    "AnalysisTask",
    "CellOfTask",
    "Hooks",
    "MixerTask",
    "OverviewTask",
    "Results",
    "Task",
    "load_task_module",
    "register_task",
    "task_of",
    "tasks_of",
]
