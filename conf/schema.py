"""The types behind cell.yaml and overview.yaml: a misspelt key or a wrong type is refused while Hydra composes."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from training.settings import DataSettings, RecipeSettings


class Scale(Enum):
    nano = "nano"
    micro = "micro"
    tiny = "tiny"
    small = "small"
    base = "base"
    large = "large"


class Budget(Enum):
    published = "published"
    params = "params"
    macs = "macs"
    shape = "shape"


class Precision(Enum):
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Device(Enum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Subject(Enum):
    network = "network"
    mixer = "mixer"


class TrackingMode(Enum):
    online = "online"
    offline = "offline"
    disabled = "disabled"


@dataclass
class NetworkConfig:
    """`name` is `unified` or a network of its own; `options` are the network's own, null meaning its default."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    # The rest concerns the unified network only.
    mixers: list[str] | None = None  # four mixers, one a stage, instead of mixer=NAME
    # By what rule dims and depths are found (see architectures/budget.py); null: published where there is a row, else
    # params, and shape where dims or depths are given.
    budget: Budget | None = None
    dims: list[int] | None = None
    depths: list[int] | None = None


@dataclass
class TrackingConfig:
    mode: TrackingMode = TrackingMode.offline
    project: str = "stmbench"


@dataclass
class CellConfig:
    """Everything that a cell needs to be repeated."""

    network: NetworkConfig
    data: DataSettings
    recipe: RecipeSettings
    platform: Any = None
    mixer: Any = None
    scale: Scale | None = None
    task: Any = None
    seed: int = 0
    precision: Precision = Precision.fp32
    device: Device = Device.auto
    weights: str | None = None
    # What task=speed times: a network, or a mixer alone on maps of `dim` channels and `resolution` [rows, columns].
    subject: Subject = Subject.network
    dim: int | None = None
    resolution: Any = None
    sweep: str = "default"
    output: str = "runs"
    rerun: bool = False
    mixer_module: str | None = None
    task_module: str | None = None
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


@dataclass
class OverviewConfig:
    """What a task about all cells needs to know: where their records are."""

    task: Any = None
    sweep: str | None = None
    output: str = "runs"
    task_module: str | None = None


@dataclass
class CheckConfig:
    """What a task about a mixer alone needs to know: which one, with which options."""

    task: Any = None
    mixer: Any = None
    mixer_module: str | None = None
