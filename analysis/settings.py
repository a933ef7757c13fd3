"""What a user sets for the tasks `complexity` and `speed`. Plain values: reading this needs neither torch nor Hydra."""

from dataclasses import dataclass, field
from enum import StrEnum


class CountingRule(StrEnum):
    """Which operators count as multiply-accumulates (MACs).

    macs: convolutions, linear layers, matrix products, attention (queries × keys and weights × values), and sampling
        with its interpolation. The rule of every table here.
    fvcore: as fvcore counts: norms and pooling too (5 for each element of a LayerNorm with affine parameters, 2 of a
        BatchNorm, 1 of a pooling window), sampling not. Reproduces the totals that fvcore gives for STM-Evaluation's
        20 variants and for Conformer.
    authors: as fvcore counts the authors' own code: by rule fvcore, plus the work that a mixer here avoids and theirs
        does (`Mixer.authors_macs`). The rule of published totals.
    conv_linear: convolutions and linear layers only, as counters that hook modules do: ConTNet's published "FLOPs".
    """

    macs = "macs"
    fvcore = "fvcore"
    authors = "authors"
    conv_linear = "conv_linear"


class Mode(StrEnum):
    """What is timed: inference is a forward pass; training is forward, backward and an AdamW step."""

    inference = "inference"
    training = "training"


class MemoryFormat(StrEnum):
    """Order of the image and of convolution weights in memory: B, C, H, W or B, H, W, C."""

    contiguous = "contiguous"
    channels_last = "channels_last"


@dataclass
class ComplexitySettings:
    """Task `complexity`: parameters, MACs and activations.

    Attributes:
        rule: how MACs are counted.
    """

    name: str = "complexity"
    rule: CountingRule = CountingRule.macs


@dataclass
class SpeedSettings:
    """Task `speed`: one row for each mode × compiled × batch size × resolution.

    Attributes:
        modes: inference, training.
        compiled: whether through torch.compile; both for a comparison.
        batch_sizes: images per step.
        resolutions: side of the square image, in pixels; empty means the network's own.
        memory_format: of images and convolution weights.
        tf32: lets CUDA use TensorFloat-32 for float32 products.
        cudnn_benchmark: lets cuDNN try its algorithms for each shape during warm-up.
        warmup_seconds: at least this long (and `warmup_steps`) before anything is timed.
        warmup_steps: at least this many steps (and `warmup_seconds`) before anything is timed.
        seconds: length of the timed part.
        min_steps: timed steps at the least, however long they take.
        max_steps: timed steps at the most.
        threads: CPU threads; None keeps torch's choice.
    """

    name: str = "speed"
    modes: list[Mode] = field(default_factory=lambda: [Mode.inference, Mode.training])
    compiled: list[bool] = field(default_factory=lambda: [False])
    batch_sizes: list[int] = field(default_factory=lambda: [8])
    resolutions: list[int] = field(default_factory=list)
    memory_format: MemoryFormat = MemoryFormat.channels_last
    tf32: bool = False
    cudnn_benchmark: bool = True
    warmup_seconds: float = 2.0
    warmup_steps: int = 3
    seconds: float = 5.0
    min_steps: int = 5
    max_steps: int = 1000
    threads: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule, for what cannot be timed."""
        for key in ("modes", "compiled", "batch_sizes"):
            _require(len(getattr(self, key)) > 0, key, getattr(self, key), "give at least one value")
        for key in ("batch_sizes", "resolutions"):
            _require(all(value >= 1 for value in getattr(self, key)), key, getattr(self, key), "must be at least 1")
        for key in ("warmup_seconds", "seconds"):
            _require(getattr(self, key) >= 0, key, getattr(self, key), "must be at least 0")
        _require(self.warmup_steps >= 1, "warmup_steps", self.warmup_steps, "must be at least 1")
        _require(self.min_steps >= 2, "min_steps", self.min_steps, "must be at least 2, to have a spread")
        _require(self.max_steps >= self.min_steps, "max_steps", self.max_steps, f"min_steps is {self.min_steps}")
        _require(self.threads is None or self.threads >= 1, "threads", self.threads, "must be at least 1")


def _require(holds: bool, key: str, value: object, rule: str) -> None:
    if not holds:
        raise ValueError(f"task.{key}={value}: {rule}")


@dataclass
class TableSettings:
    """Task `table`: every record so far as tables and one HTML page.

    Attributes:
        destination: folder of the tables and the page; None is `tables` beside the records.
    """

    name: str = "table"
    destination: str | None = None


@dataclass
class LedgerSettings:
    """Task `ledger`: published against measured parameters and MACs of every network.

    Attributes:
        destination: folder of the ledger as Markdown and CSV; None only prints it.
    """

    name: str = "ledger"
    destination: str | None = None
