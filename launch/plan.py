"""`task=train task.dry_run=true`: what training would do, printed. Nothing is written and no record is left."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from architectures import build_network
from mixers import load_mixer_module
from tasks.from_config.device import device_of
from tasks.from_config.network import network_spec
from training.data import count_images
from training.plan import Plan, make_plan
from training.settings import DataSettings, RecipeSettings, TrainSettings

from .cell import Cell


def print_plans(cells: Sequence[Cell], console: Console | None = None) -> None:
    """The plan of each cell, which must be of task `train`."""
    console = console or Console()
    for cell in cells:
        print_plan(cell.name, plan(cell), console)


def plan(cell: Cell) -> Plan:
    """Builds the cell's network and measures a step on random images.

    Raises: ValueError where the recipe does not fit the data.
    """
    config = cell.config
    if config["mixer_module"]:
        load_mixer_module(config["mixer_module"])
    data = DataSettings(**config["data"])
    return make_plan(
        build_network(network_spec(config)),
        data,
        RecipeSettings(**config["recipe"]),
        train_images=count_images(data, "train"),
        num_classes=config["data"]["num_classes"],
        precision=config["precision"],
        device=device_of(config),
        settings=TrainSettings(**config["task"]),
    )


def print_plan(name: str, plan: Plan, console: Console) -> None:
    groups = Table("parameters", "tensors", "weight decay", "learning rate ×", title=f"{name}: optimiser")
    for group in plan.groups:
        groups.add_row(
            f"{group.params:,}", f"{group.tensors:,}", f"{group.weight_decay:g}", f"{group.learning_rate_scale:.4g}"
        )
    moments = Table("", "step", "epoch", "learning rate", title="learning rate")
    for moment in plan.moments:
        epoch = f"{moment.step / plan.steps_per_epoch:.2f}"
        moments.add_row(moment.name, f"{moment.step:,}", epoch, f"{moment.learning_rate:.4g}")
    for table in (groups, moments):
        for column in table.columns[0 if table is groups else 1 :]:
            column.justify = "right"
        console.print(table)
    part = plan.batch_size // plan.accumulation
    memory = {
        "weights": plan.weights_mib,
        "gradients": plan.gradients_mib,
        "optimiser": plan.optimizer_mib,
        "average": plan.average_mib,
        f"activations of {part} images": plan.activations_mib,
    }
    parts = " + ".join(f"{what} {mib:,.0f}" for what, mib in memory.items() if mib)
    for line in (
        f"images     {plan.batch_size:,} a step, {plan.accumulation} × {part:,} through the network; "
        f"{plan.train_images:,} in the training set",
        f"steps      {plan.steps_per_epoch:,} an epoch, {plan.epochs} epochs, {plan.steps:,} in all",
        f"memory     about {plan.memory_mib:,.0f} MiB: {parts}; operators' work space comes on top",
        f"time       about {_duration(plan.train_seconds)} on this machine's {plan.device}, from steps of "
        f"{plan.measured_images} images ({plan.step_seconds / plan.batch_size * 1000:,.1f} ms an image); "
        "reading data and validation come on top",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} seconds"
