"""Weights & Biases, the only place that knows it. Offline by default, so no account and no network are needed."""

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.hooks import OnEpoch

from .cell import Cell


@contextmanager
def track(cell: Cell) -> Iterator[OnEpoch]:
    """Yield a function that takes an epoch's metrics; with tracking, they go to the cell's wandb run.

    Only cells that train have something to follow. Runs of a sweep share a group; the id is the cell's identity, so a
    cell that is continued continues its run too.
    """
    mode = cell.config["tracking"]["mode"]
    if mode == "disabled" or cell.task != "train":
        yield lambda metrics: None
        return

    import wandb

    run = wandb.init(
        mode=mode,
        project=cell.config["tracking"]["project"],
        group=cell.config["sweep"],
        job_type=cell.task,
        name=cell.name,
        id=cell.id,
        resume="allow" if mode == "online" else None,
        dir=str(cell.directory),
        config=dict(cell.config),
        settings=wandb.Settings(silent=True, console="off"),
    )
    exit_code = 1
    try:
        yield lambda metrics: run.log(dict(metrics), step=metrics["epoch"])
        exit_code = 0
    finally:
        run.finish(exit_code=exit_code)
