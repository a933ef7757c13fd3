"""`task=train`: a network learns."""

from typing import Any

from analysis.metrics import COSTS, TOP1, TOP5, VALIDATION_LOSS, Metric, percent
from training.settings import DataSettings, RecipeSettings, TrainSettings

from .hooks import Hooks
from .registry import register_task
from .task import CellOfTask, Config, Results, Task


@register_task("train")
class TrainTask(Task):
    """Accuracy after the last epoch, with checkpoints from which a stopped cell goes on."""

    settings = TrainSettings
    metrics = (
        *COSTS,
        TOP1,
        TOP5,
        VALIDATION_LOSS,
        percent("best_top1_percent", "best epoch's top-1"),
        percent("ema_top1_percent", "moving average's top-1"),
        percent("top1_without_mixers_percent", "top-1 without mixers", better=None),
        Metric("train_images_per_second", "training", unit="images/s", better="higher", digits=0, least=0),
    )
    uses = ("precision", "data", "recipe", "seed", "weights")
    reads = ("train", "validation")
    code = ("training", "tasks/from_config/weights.py")
    learns = True
    fine_tunes = True
    uses_ranks = True

    def defining(self, config: Config) -> dict[str, Any]:
        # The settings say how the work is done, not what is learned.
        return super().defining(config) | {"task": {"name": "train"}}

    def check(self, config: Config) -> None:
        from training.recipe import check_recipe

        check_recipe(RecipeSettings(**config["recipe"]))
        super().check(config)

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        from architectures import build_network
        from training.train import Interrupted, train

        from .from_config.cost import with_costs
        from .from_config.device import device_of
        from .from_config.network import network_spec
        from .from_config.weights import load

        config, spec = cell.config, network_spec(cell.config)
        network = build_network(spec)
        if config["weights"]:
            load(network, spec, config["weights"], fine_tuning=True, show_progress=hooks.show_progress)
        try:
            with hooks.interruption.polled():
                results = train(
                    network,
                    DataSettings(**config["data"]),
                    RecipeSettings(**config["recipe"]),
                    directory=cell.directory,
                    seed=config["seed"],
                    precision=config["precision"],
                    device=device_of(config),
                    settings=TrainSettings(**config["task"]),
                    ranks=hooks.ranks,
                    on_epoch=hooks.on_epoch,
                    on_progress=hooks.on_progress,
                    stop_asked=hooks.interruption.asked,
                    show_progress=hooks.show_progress,
                )
        except Interrupted as stop:
            raise hooks.interruption.error() from stop
        return with_costs(spec, results)
