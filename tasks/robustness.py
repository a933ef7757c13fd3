"""`task=robustness`: the accuracy that is left when images lose parts, order or frequencies, or weights are noisy."""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from analysis.metrics import TOP1, percent
from training.settings import VALIDATION_BATCH_SIZE

from .analysis import AnalysisTask
from .hooks import Hooks
from .registry import register_task
from .task import CellOfTask, Config, Results

if TYPE_CHECKING:
    import pandas as pd
    from torch import Generator, Tensor, nn

    from analysis.report.chart import Chart
    from analysis.report.style import Style
    from training.views import View

    from .from_config.answers import Question
    from .from_config.trained import Trained

CURVES = {
    "occlusion": ("Occlusion", "Share of squares that are black"),
    "patch_shuffle": ("Shuffled squares", "Squares along each side"),
    "low_pass": ("Low-pass filter", "Highest frequency that is left (share of the highest)"),
    "high_pass": ("High-pass filter", "Highest frequency that is gone (share of the highest)"),
    "weight_noise": ("Noise in the weights", "Standard deviation (share of the weights' root mean square)"),
}
KINDS = tuple(CURVES)
FACTORS = ("low_pass", "high_pass", "weight_noise")
"""Kinds whose strengths are steps by a factor."""


@dataclass
class RobustnessSettings:
    """What is done to each validation image, or to the weights.

    Attributes:
        kinds: any of occlusion, patch_shuffle, low_pass, high_pass, weight_noise.
        occluded: shares of the squares that are black.
        occlusion_grid: squares along each side of the image.
        grids: squares along each side that are shuffled; None: those of 2, 4, 7, 8, 14 and 16 that divide the image.
        cutoffs: of the filters, as shares of the highest frequency.
        weight_noise: standard deviations, as shares of each weight's root mean square.
        weight_draws: noisy networks at each of them.
        batch_size: images per forward pass.
        average: of a run's directory, the moving average of the weights instead of the weights.
    """

    name: str = "robustness"
    kinds: list[str] = field(default_factory=lambda: list(KINDS))
    occluded: list[float] = field(default_factory=lambda: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    occlusion_grid: int = 14
    grids: list[int] | None = None
    cutoffs: list[float] = field(default_factory=lambda: [0.0625, 0.125, 0.25, 0.5, 1.0])
    weight_noise: list[float] = field(default_factory=lambda: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
    weight_draws: int = 3
    batch_size: int = VALIDATION_BATCH_SIZE
    average: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        for key, holds, rule in (
            ("kinds", self.kinds and set(self.kinds) <= set(KINDS), f"choose from {', '.join(KINDS)}"),
            ("occluded", all(0 <= share <= 1 for share in self.occluded), "must be between 0 and 1"),
            ("occlusion_grid", self.occlusion_grid >= 1, "must be at least 1"),
            ("grids", all(grid >= 1 for grid in self.grids or ()), "must be at least 1"),
            ("cutoffs", all(cutoff > 0 for cutoff in self.cutoffs), "must be positive"),
            ("weight_noise", all(noise >= 0 for noise in self.weight_noise), "must not be negative"),
            ("weight_draws", self.weight_draws >= 1, "must be at least 1"),
            ("batch_size", self.batch_size >= 1, "must be at least 1"),
        ):
            if not holds:
                raise ValueError(f"task.{key}={getattr(self, key)!r}: {rule}")
        for key in ("kinds", "occluded", "grids", "cutoffs", "weight_noise"):
            values = getattr(self, key) or ()
            if len(set(values)) < len(values):
                raise ValueError(f"task.{key}={values!r}: must not repeat a value")

    def grids_at(self, size: int) -> list[int]:
        """The grids of squares that are shuffled, for images of `size` pixels."""
        return [grid for grid in (2, 4, 7, 8, 14, 16) if size % grid == 0] if self.grids is None else self.grids


@register_task("robustness")
class RobustnessTask(AnalysisTask):
    """Accuracy where parts of the images are black or shuffled or frequencies are gone, and with noisy weights."""

    title = "Robustness"
    says = "Top-1 under changes of the images and of the weights, of each kind the mean over its strengths."
    settings = RobustnessSettings
    metrics = (
        TOP1,
        percent("occlusion_top1_percent", "occluded"),
        percent("patch_shuffle_top1_percent", "shuffled"),
        percent("low_pass_top1_percent", "low-passed"),
        percent("high_pass_top1_percent", "high-passed"),
        percent("weight_noise_top1_percent", "noisy weights"),
    )
    code = (
        "analysis/robustness",
        "training",
        "tasks/from_config/answers.py",
        "tasks/from_config/trained.py",
        "tasks/from_config/weights.py",
    )
    draws = True

    def check(self, config: Config) -> None:
        super().check(config)
        settings, size = RobustnessSettings(**config["task"]), config["data"]["resolution"]
        for grid in settings.grids_at(size):
            if size % grid:
                raise ValueError(f"task.grids: {grid} does not divide images of {size} pixels (data.resolution)")
        if settings.occlusion_grid > size:
            raise ValueError(
                f"task.occlusion_grid={settings.occlusion_grid}: must be at most data.resolution={size}, a square a "
                "pixel"
            )

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        from .from_config.answers import answers
        from .from_config.trained import trained

        subject = trained(cell.config, show_progress=hooks.show_progress)
        found, accuracies = [], {}
        asked = _asked(subject, cell.config)
        for (_, places), outcomes in zip(
            asked, answers(subject, [question for question, _ in asked], cell, hooks), strict=True
        ):
            for name, (kind, strength) in places.items():
                accuracy = 100 * float(outcomes[name]["top1"].mean())
                found.append({"kind": kind, "strength": strength, "top1_percent": accuracy})
                accuracies.setdefault(kind, []).append(accuracy)
        results = {f"{kind}_top1_percent": sum(each) / len(each) for kind, each in accuracies.items()}
        results["top1_percent"] = results.pop("nothing_top1_percent")
        return subject.results(results, found)

    def charts(self, observations: "pd.DataFrame", look: "Mapping[str, Style]") -> "Iterable[Chart]":
        from analysis.report.strength_curves import strength_curves

        for kind, (title, axis) in CURVES.items():
            seen = observations[observations["kind"] == kind]
            yield from strength_curves(
                seen, look, "top1_percent", title=title, x_title=axis, y_title="Top-1 (%)", logarithmic=kind in FACTORS
            )


Places = dict[str, tuple[str, float]]
"""Of each view by name what is done, and how much."""


def _asked(subject: "Trained", config: Config) -> "list[tuple[Question, Places]]":
    """One pass for each kind of change of the images, and for each noisy network."""
    from training.views import Group

    from .from_config.answers import Question

    settings = RobustnessSettings(**config["task"])
    batches = partial(subject.batches, settings.batch_size)
    changes: dict[str, Mapping[float, View]] = {"nothing": {0.0: _unchanged}, **_changes(settings, config)}
    found = []
    for kind, views in changes.items():
        names = {strength: f"{kind}_{strength:g}" for strength in views}
        group = Group(kind, {names[strength]: view for strength, view in views.items()})
        places = {name: (kind, strength) for strength, name in names.items()}
        found.append((Question(group, lambda: subject.network, batches), places))
    if "weight_noise" in settings.kinds:
        for strength in settings.weight_noise:
            for draw in range(settings.weight_draws):
                name = f"weight_noise_{strength:g}_{draw}"
                noisy = partial(_noisy, subject, strength, config["seed"], name)
                found.append(
                    (Question(Group(name, {name: _unchanged}), noisy, batches), {name: ("weight_noise", strength)})
                )
    return found


def _changes(settings: RobustnessSettings, config: Config) -> "dict[str, Mapping[float, View]]":
    """Of each kind of change of the images the views by strength."""
    from analysis.robustness.images import high_passed, low_passed, occluded, shuffled

    size = config["data"]["resolution"]
    changes: dict[str, tuple[Sequence[float], Callable[..., Any]]] = {
        "occlusion": (settings.occluded, partial(occluded, grid=settings.occlusion_grid)),
        "patch_shuffle": (settings.grids_at(size), shuffled),
        "low_pass": (settings.cutoffs, low_passed),
        "high_pass": (settings.cutoffs, high_passed),
    }
    return {
        kind: {strength: _view(change, kind, strength, config["seed"]) for strength in strengths}
        for kind, (strengths, change) in changes.items()
        if kind in settings.kinds
    }


def _view(change: Callable[..., Any], kind: str, strength: float, seed: int) -> "View":
    """Draws, where it does, in the order of the images, alike whenever its pass begins."""
    drawn = {"draws": _draws(seed, kind, strength)} if kind in ("occlusion", "patch_shuffle") else {}
    return lambda pixels, labels: change(pixels.float(), strength, **drawn)


def _unchanged(pixels: "Tensor", labels: "Tensor") -> "Tensor":
    return pixels


def _noisy(subject: "Trained", strength: float, seed: int, name: str) -> "nn.Module":
    from analysis.robustness.weights import with_noise

    return with_noise(subject.network, strength, _draws(seed, name))


def _draws(seed: int, *what: object) -> "Generator":
    from training.seeds import generator

    return generator(seed, zlib.crc32(repr(what).encode()))
