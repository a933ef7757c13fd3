"""`task=loader`: which binds, the data or the network."""

from dataclasses import dataclass

from analysis.metrics import Metric, percent
from training.settings import DataSettings, RecipeSettings

from .hooks import Hooks
from .registry import register_task
from .task import CellOfTask, Config, Results, Task


@dataclass
class LoaderSettings:
    """How fast training images come, against how fast the network takes them.

    Attributes:
        seconds: how long images are read at least, after the first batches.
        warmup_batches: not counted, for workers start in them.
        step_images: images in the step that is timed; None: 8, on a GPU all that share a forward pass.
        compile, gradient_checkpointing: as task `train` will be asked to.
    """

    name: str = "loader"
    seconds: float = 10.0
    warmup_batches: int = 2
    step_images: int | None = None
    compile: bool = False
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        for key, holds, rule in (
            ("seconds", self.seconds > 0, "must be positive"),
            ("warmup_batches", self.warmup_batches >= 1, "must be at least 1"),
            ("step_images", self.step_images is None or self.step_images >= 2, "must be null or at least 2"),
        ):
            if not holds:
                raise ValueError(f"task.{key}={getattr(self, key)}: {rule}")


@register_task("loader")
class LoaderTask(Task):
    """Images a second of the loader alone and of training steps alone, and the share of time spent waiting."""

    settings = LoaderSettings
    metrics = (
        Metric("loader_images_per_second", "loader", unit="images/s", better="higher", digits=0, least=0),
        Metric("step_images_per_second", "steps", unit="images/s", better="higher", digits=0, least=0),
        percent("data_wait_percent", "waiting for data", better="lower"),
    )
    uses = ("precision", "device", "data", "recipe")
    reads = ("train",)
    code = ("training",)
    learns = True
    is_timed = True

    def check(self, config: Config) -> None:
        from training.recipe import check_recipe

        check_recipe(RecipeSettings(**config["recipe"]))
        super().check(config)

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        from architectures import build_network
        from training.loader_speed import measure_loader

        from .from_config.device import device_of
        from .from_config.network import network_spec

        config = cell.config
        settings = {key: value for key, value in config["task"].items() if key != "name"}
        results = measure_loader(
            build_network(network_spec(config)),
            DataSettings(**config["data"]),
            RecipeSettings(**config["recipe"]),
            seed=config["seed"],
            precision=config["precision"],
            device=device_of(config),
            show_progress=hooks.show_progress,
            **settings,
        )
        return {"results": results}
