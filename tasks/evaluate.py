"""`task=evaluate`: how good given weights are."""

from dataclasses import dataclass
from typing import Any

from analysis.metrics import COSTS, TOP1, TOP5, VALIDATION_LOSS
from training.settings import VALIDATION_BATCH_SIZE, DataSettings

from .hooks import Hooks
from .registry import register_task
from .task import CellOfTask, Config, Results, Task


@dataclass
class EvaluateSettings:
    """How the validation images are looked at.

    Attributes:
        batch_size: images per forward pass; another one changes the last digits of the loss.
        average: of a run's directory, the moving average of the weights instead of the weights.
    """

    name: str = "evaluate"
    batch_size: int = VALIDATION_BATCH_SIZE
    average: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        if self.batch_size < 1:
            raise ValueError(f"task.batch_size={self.batch_size}: must be at least 1")


@register_task("evaluate")
class EvaluateTask(Task):
    """Accuracy and loss of `weights` on the validation images, with what was answered to each."""

    settings = EvaluateSettings
    metrics = (*COSTS, TOP1, TOP5, VALIDATION_LOSS)
    uses = ("precision", "data", "weights", "seed")
    reads = ("validation",)
    code = ("training", "tasks/from_config/weights.py")
    needs_weights = True

    def defining(self, config: Config) -> dict[str, Any]:
        # Which parameters the file holds is said by the digest of the weights; the seed matters where there is none.
        seed = None if config["weights"] else config["seed"]
        return super().defining(config) | {"task": {"name": "evaluate"}, "seed": seed}

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        from architectures import build_network
        from training.evaluate import evaluate

        from .from_config.cost import with_costs
        from .from_config.device import device_of
        from .from_config.network import network_spec
        from .from_config.weights import load

        config, spec = cell.config, network_spec(cell.config)
        settings, network = EvaluateSettings(**config["task"]), build_network(spec)
        if config["weights"]:
            load(
                network,
                spec,
                config["weights"],
                fine_tuning=False,
                average=settings.average,
                show_progress=hooks.show_progress,
            )
        results = evaluate(
            network,
            DataSettings(**config["data"]),
            precision=config["precision"],
            device=device_of(config),
            batch_size=settings.batch_size,
            show_progress=hooks.show_progress,
            directory=cell.directory,
        )
        return with_costs(spec, results)
