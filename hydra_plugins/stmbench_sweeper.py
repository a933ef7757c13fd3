"""The sweeper that Hydra finds under the name `stmbench`: its own basic one, without composing every cell twice."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore


class StmbenchSweeper(BasicSweeper):
    """All combinations of the values that are swept."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: `StmbenchLauncher` composes and checks every cell before the first one starts."""


@dataclass
class StmbenchSweeperConfig(BasicSweeperConf):
    _target_: str = "hydra_plugins.stmbench_sweeper.StmbenchSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="stmbench", node=StmbenchSweeperConfig, provider="stmbench")
