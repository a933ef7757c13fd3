"""What a user sets where this package is asked. Plain values: reading this needs neither torch nor Hydra."""

from dataclasses import dataclass, field
from enum import StrEnum


class CountingRule(StrEnum):
    """Which operators count as multiply-accumulates (MACs).

    macs: convolutions, linear layers, matrix products, attention (queries × keys and weights × values), sampling with
        its interpolation, and bilinear upsampling (4 for each pixel). The rule of every table here.
    fvcore: as fvcore counts: norms and pooling too (5 for each element of a LayerNorm with affine parameters, 2 of a
        BatchNorm, 1 of a pooling window, 1 of a map enlarged by copying), sampling not. Reproduces the totals that
        fvcore gives for STM-Evaluation's 20 variants and for Conformer.
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


PRECISIONS = ("fp32", "bf16", "fp16")
MOST_THREADS = 1024
MARGIN = 0.5
"""Differences of top-1 up to this, in percentage points, are equivalent unless somebody says otherwise."""


@dataclass
class SpeedSettings:
    """Task `speed`: one row for each candidate × resolution × batch size × mode × precision × eager or compiled.

    Attributes:
        compare: further candidates: mixers (at the cell's scale, or alone) or networks; the cell's own comes first.
        against: the candidate that the others are compared with; None is the first one.
        implementations: of the mixers that have several (e.g. reference, cpp): one candidate for each.
        modes: inference, training.
        compiled: whether through torch.compile; both for a comparison.
        precisions: fp32, bf16, fp16; empty means the cell's own.
        batch_sizes: images, or maps of a mixer alone, per step.
        resolutions: sides of square images, or maps, in pixels; empty means the cell's own.
        memory_format: of images and convolution weights.
        tf32: lets CUDA use TensorFloat-32 for float32 products.
        cudnn_benchmark: lets cuDNN try its algorithms for each shape during warm-up.
        machine_rates: also time a large matrix product and a copy, in the same turns.
        warmup_seconds: at least this long (and `warmup_steps`) before anything is timed.
        warmup_steps: at least this many steps (and `warmup_seconds`) before anything is timed.
        seconds: length of the timed part, for each candidate.
        turns: at least this many, where several candidates take turns.
        turn_seconds: length of one turn, or one step if that is longer.
        min_steps: timed steps at the least, however long they take.
        max_steps: timed steps at the most.
        threads: CPU threads; None keeps torch's choice.
    """

    name: str = "speed"
    compare: list[str] = field(default_factory=list)
    against: str | None = None
    implementations: list[str] = field(default_factory=list)
    modes: list[Mode] = field(default_factory=lambda: [Mode.inference, Mode.training])
    compiled: list[bool] = field(default_factory=lambda: [False])
    precisions: list[str] = field(default_factory=list)
    batch_sizes: list[int] = field(default_factory=lambda: [8])
    resolutions: list[int] = field(default_factory=list)
    memory_format: MemoryFormat = MemoryFormat.channels_last
    tf32: bool = False
    cudnn_benchmark: bool = True
    machine_rates: bool = False
    warmup_seconds: float = 2.0
    warmup_steps: int = 3
    seconds: float = 5.0
    turns: int = 7
    turn_seconds: float = 0.2
    min_steps: int = 5
    max_steps: int = 1000
    threads: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule, for what cannot be timed."""
        for key in ("modes", "compiled", "batch_sizes"):
            _require(len(getattr(self, key)) > 0, key, getattr(self, key), "give at least one value")
        for key in ("compare", "implementations"):
            _require(len(set(getattr(self, key))) == len(getattr(self, key)), key, getattr(self, key), "a name twice")
        for key in ("batch_sizes", "resolutions"):
            _require(all(value >= 1 for value in getattr(self, key)), key, getattr(self, key), "must be at least 1")
        for key in ("warmup_seconds", "seconds", "turn_seconds"):
            _require(getattr(self, key) >= 0, key, getattr(self, key), "must be at least 0")
        known = set(self.precisions) <= set(PRECISIONS)
        _require(known, "precisions", self.precisions, f"choose from {', '.join(PRECISIONS)}")
        _require(self.turns >= 1, "turns", self.turns, "must be at least 1")
        _require(self.warmup_steps >= 1, "warmup_steps", self.warmup_steps, "must be at least 1")
        _require(self.min_steps >= 2, "min_steps", self.min_steps, "must be at least 2, to have a spread")
        _require(
            self.max_steps >= self.min_steps,
            "max_steps",
            self.max_steps,
            f"must be at least min_steps, {self.min_steps}",
        )
        check_threads(self.threads, "task.threads")


def check_threads(threads: int | None, key: str) -> None:
    """Raises ValueError for a number of CPU threads that nobody means: thousands of them end the interpreter."""
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"{key}={threads}: must be between 1 and {MOST_THREADS}")


def _require(holds: bool, key: str, value: object, rule: str) -> None:
    if not holds:
        raise ValueError(f"task.{key}={value}: {rule}")
