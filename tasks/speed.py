"""`task=speed`: how fast networks, or mixers alone, are, and how much memory they take."""

from typing import Any

from analysis.metrics import COSTS
from analysis.settings import SpeedSettings

from .from_config.labels import has_its_own
from .hooks import Hooks
from .registry import register_task
from .task import CellOfTask, Config, Results, Task


@register_task("speed")
class SpeedTask(Task):
    """Images a second, latency and peak memory of candidates that take turns on this machine."""

    settings = SpeedSettings
    metrics = COSTS
    uses = ("device", "subject", "dim", "resolution")
    code = ("analysis/speed", "analysis/peak_memory.py", "tasks/from_config/candidates.py")
    has_candidates = True
    is_timed = True

    def defining(self, config: Config) -> dict[str, Any]:
        defining = super().defining(config)
        defining["task"]["precisions"] = defining["task"].get("precisions") or [config["precision"]]
        return defining

    def check_networks(self, config: Config) -> None:
        from .from_config.candidates import check_candidates

        check_candidates(config)

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        from analysis.speed import measure

        from .from_config.candidates import candidates, is_mixer_alone, own_resolution
        from .from_config.cost import with_costs
        from .from_config.device import device_of
        from .from_config.network import network_spec

        config = cell.config
        rows = measure(
            candidates(config),
            SpeedSettings(**config["task"]),
            resolution=own_resolution(config),
            precision=config["precision"],
            device=device_of(config),
            show_progress=hooks.show_progress,
        )
        of_network = has_its_own(config) and not is_mixer_alone(config)
        if not of_network:
            return {"rows": rows}
        return with_costs(network_spec(config)) | {"rows": rows}
