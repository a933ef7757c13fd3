"""Doing a cell's task, when all that its identity says has been found to be so."""

import torch

from mixers import load_mixer_module
from tasks import Hooks, Results, task_of

from .cell import Cell
from .contents import check_contents


def perform(cell: Cell, hooks: Hooks) -> Results:
    """Do the cell's task; the returned `results`, `rows` and `details` go into its record.

    Raises: whatever the task raises; `launch.execute` turns that into the record's reason.
    """
    contents = cell.config.get("contents") or {}
    if cell.config["mixer_module"]:
        load_mixer_module(cell.config["mixer_module"], contents.get("mixer_module"))
    check_contents(cell.config)
    torch.manual_seed(cell.config["seed"])
    return task_of(cell.config).run(cell, hooks)
