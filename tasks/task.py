"""What a task says about itself; everything else in the program follows from it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypedDict

from analysis.metrics import Metric

from .hooks import Hooks

Config = Mapping[str, Any]
"""A cell's plain, resolved configuration: the keys of `conf/cell.yaml`."""


class CellOfTask(Protocol):
    """What a task sees of its cell: the configuration, and the folder in which it may leave files."""

    @property
    def config(self) -> Config: ...

    @property
    def directory(self) -> Path: ...


class Results(TypedDict, total=False):
    """What a record keeps. Names of results and of columns of rows end in their unit where they have one."""

    results: Mapping[str, Any]  # one number each, by the names of the task's metrics
    rows: list[Mapping[str, Any]]  # one measurement of speed each
    details: Mapping[str, Any]  # whatever else there is to draw or to look up


class Task(ABC):
    """What a cell computes. The class's docstring is what `--help` and docs say of it.

    Attributes:
        settings: a dataclass, whose first field is the task's `name`; the config group `task` is derived from it. Its
            `__post_init__` raises ValueError naming key, value and rule.
        metrics: the numbers in its results: columns, axes and what is better are known from here.
        uses: keys of the configuration that its result depends on, besides network, mixer, scale and the size and
            number of classes of the images. Without them two cells are the same cell.
        neutral: a key of `settings` that was added when there were results already -> the value with which nothing is
            as it was not before. With that value it is no part of a cell's identity.
        reads: splits of the data that are looked at before anything starts: "train", "validation".
        code: files and packages that decide its result, besides its own file and what every task needs.
        learns: whether its network has the recipe's stochastic depth, and parameter groups.
        fine_tunes: whether `weights` are where it starts, so that a classifier for other classes is left out.
        needs_weights: whether there is nothing to find out about a network without.
        has_candidates: whether it is about several networks or mixers (`settings.compare`) rather than the cell's one.
        is_timed: whether its result belongs to the device.
        uses_ranks: whether several processes do it together.
    """

    settings: ClassVar[type]
    metrics: ClassVar[tuple[Metric, ...]] = ()
    uses: ClassVar[tuple[str, ...]] = ()
    neutral: ClassVar[Mapping[str, Any]] = {}
    reads: ClassVar[tuple[str, ...]] = ()
    code: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[bool] = False
    fine_tunes: ClassVar[bool] = False
    needs_weights: ClassVar[bool] = False
    has_candidates: ClassVar[bool] = False
    is_timed: ClassVar[bool] = False
    uses_ranks: ClassVar[bool] = False

    def defining(self, config: Config) -> dict[str, Any]:
        """What the result depends on, by `uses` and `settings`: part of the cell's identity (see `launch.cell`)."""
        settings = {key: value for key, value in config["task"].items() if (key, value) not in self.neutral.items()}
        return {key: config.get(key) for key in self.uses} | {"task": settings}

    def check(self, config: Config) -> None:
        """Refuses values that cannot be, before anything is built.

        Raises: ValueError naming the key, its value and the rule.
        """
        self.settings(**config["task"])

    def check_networks(self, config: Config) -> None:
        """Refuses what does not fit the network, which may be built on the meta device.

        Raises: ValueError naming the key, its value and the rule.
        """
        if self.learns:
            from .from_config.recipe import check_parameter_groups

            check_parameter_groups(config)

    @abstractmethod
    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        """Configuration in, one call into training or analysis, results out. torch is seeded with the cell's seed.

        Raises: whatever stops it; `launch.execute` turns that into the record's reason.
        """


class MixerTask(ABC):
    """A task about a mixer alone, which needs no network and leaves no record; the root of its configuration is
    `conf/check.yaml`."""

    settings: ClassVar[type]

    @abstractmethod
    def run(self, mixer: str, options: Mapping[str, Any], settings: Any) -> bool:
        """Prints what it finds about the mixer with these options; whether all is well.

        Raises: ValueError naming an option that cannot be.
        """


class OverviewTask(ABC):
    """A task about all cells at once; the root of its configuration is `conf/overview.yaml`."""

    settings: ClassVar[type]

    @abstractmethod
    def run(self, output: Path, sweep: str | None, settings: Any) -> int:
        """About the records under `output`, of one sweep or all; returns the exit status.

        Raises: OSError where something cannot be written.
        """
