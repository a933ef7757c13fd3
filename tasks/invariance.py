"""`task=invariance`: whether a network answers the same when an object is moved, turned, resized or mirrored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from analysis.invariance.strengths import (
    AUTHORS_ANGLES,
    AUTHORS_RATIOS,
    AXES,
    FRACTIONS,
    KINDS,
    PROTOCOLS,
    shifts_at,
)
from analysis.metrics import TOP1, percent
from training.settings import VALIDATION_BATCH_SIZE

from .analysis import AnalysisTask
from .hooks import Hooks
from .registry import register_task
from .task import CellOfTask, Config, Results

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from analysis.invariance.protocols import Preparation, StrongView
    from analysis.report.chart import Chart
    from analysis.report.style import Style

    from .from_config.answers import Question
    from .from_config.trained import Trained

VIEWS_PER_PASS = 8
"""So many views of an image are made each time it is read: a batch of them is as large as one in training."""
AXIS_TITLES = {
    "translation": "Shift (pixels)",
    "pre_rotation": "Angle before the crop (degrees)",
    "post_rotation": "Angle after the crop (degrees)",
    "scale": "Share of the shorter side that is kept",
    "subpixel": "Shift (pixels)",
}
TITLES = {
    "translation": "Translation",
    "pre_rotation": "Rotation before the crop",
    "post_rotation": "Rotation after the crop",
    "scale": "Scale",
    "subpixel": "Translation by fractions of a pixel",
}


@dataclass
class InvarianceSettings:
    """Which views of each validation image are asked about.

    Attributes:
        protocol: `authors`, STM-Evaluation's with its quirks, or `corrected`; see `analysis.invariance.protocols`.
        kinds: which kinds of views there are: any of translation, pre_rotation, post_rotation, scale, flip, subpixel.
        shifts: in pixels; None: the authors' 0, 4, ..., 64 for images of 224, at other resolutions the same shares.
        angles: in degrees, counter-clockwise.
        ratios: shares of the resized shorter side that the view keeps; above 1 there is black around the image.
        fractions: shifts in fractions of a pixel.
        batch_size: images per forward pass.
        average: of a run's directory, the moving average of the weights instead of the weights.
    """

    name: str = "invariance"
    protocol: str = "authors"
    kinds: list[str] = field(default_factory=lambda: list(KINDS))
    shifts: list[int] | None = None
    angles: list[float] = field(default_factory=lambda: [float(angle) for angle in AUTHORS_ANGLES])
    ratios: list[float] = field(default_factory=lambda: list(AUTHORS_RATIOS))
    fractions: list[float] = field(default_factory=lambda: list(FRACTIONS))
    batch_size: int = VALIDATION_BATCH_SIZE
    average: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        shifts = [] if self.shifts is None else self.shifts
        for key, holds, rule in (
            ("protocol", self.protocol in PROTOCOLS, f"choose from {', '.join(PROTOCOLS)}"),
            ("kinds", self.kinds and set(self.kinds) <= set(KINDS), f"choose from {', '.join(KINDS)}"),
            ("shifts", all(shift >= 0 for shift in shifts), "must not be negative"),
            ("ratios", all(ratio > 0 for ratio in self.ratios), "must be positive"),
            ("fractions", all(0 < fraction <= 1 for fraction in self.fractions), "must be above 0 and at most 1"),
            ("batch_size", self.batch_size >= 1, "must be at least 1"),
        ):
            if not holds:
                raise ValueError(f"task.{key}={getattr(self, key)!r}: {rule}")
        for key in ("kinds", "shifts", "angles", "ratios", "fractions"):
            values = getattr(self, key) or ()
            if len(set(values)) < len(values):
                raise ValueError(f"task.{key}={values!r}: must not repeat a value")

    def strengths(self, kind: str, size: int) -> Sequence[float | str]:
        """Of the views of one kind, for images of `size` pixels."""
        return {
            "translation": shifts_at(size) if self.shifts is None else self.shifts,
            "pre_rotation": self.angles,
            "post_rotation": self.angles,
            "scale": self.ratios,
            "flip": AXES,
            "subpixel": self.fractions,
        }[kind]


@register_task("invariance")
class InvarianceTask(AnalysisTask):
    """Accuracy, and consistency with the standard view, under translation, rotation, scale, flips and sub-pixel shifts.

    Source: Dai et al., arXiv 2211.05781, and their code, https://github.com/OpenGVLab/STM-Evaluation.
    """

    title = "Invariance"
    says = (
        "Consistency: the share of images to which the network answers as to the standard view, right or wrong; of "
        "each kind of view the mean over its strengths."
    )
    settings = InvarianceSettings
    metrics = (
        TOP1,
        percent("translation_consistency_percent", "translation"),
        percent("pre_rotation_consistency_percent", "rotated before crop"),
        percent("post_rotation_consistency_percent", "rotated after crop"),
        percent("scale_consistency_percent", "scale"),
        percent("horizontal_flip_consistency_percent", "mirrored"),
        percent("vertical_flip_consistency_percent", "upside down"),
        percent("subpixel_consistency_percent", "sub-pixel"),
    )
    code = (
        "analysis/invariance",
        "training",
        "tasks/from_config/answers.py",
        "tasks/from_config/trained.py",
        "tasks/from_config/weights.py",
    )
    draws = True

    def check(self, config: Config) -> None:
        super().check(config)
        from analysis.invariance.protocols import check_shifts

        settings, size = InvarianceSettings(**config["task"]), config["data"]["resolution"]
        if "translation" in settings.kinds:
            check_shifts(settings.strengths("translation", size), _preparation(config["data"]), settings.protocol)

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        from analysis.invariance.consistency import scores

        from .from_config.answers import answers
        from .from_config.trained import trained

        subject, views = trained(cell.config, show_progress=hooks.show_progress), _views(cell.config)
        by_name = {
            name: outcomes
            for group in answers(subject, _questions(subject, views, cell.config), cell, hooks)
            for name, outcomes in group.items()
        }
        answered = {view: by_name[view.name] for view in views}
        standard = answered[views[0]]
        found = [
            {"kind": view.kind, "strength": view.strength} | scores(standard, outcomes)
            for view, outcomes in answered.items()
        ]
        results = {"top1_percent": found[0]["top1_percent"]}
        for metric, consistencies in _by_metric(found[1:]).items():
            results[metric] = sum(consistencies) / len(consistencies)
        return subject.results(results, found)

    def charts(self, observations: "pd.DataFrame", look: "Mapping[str, Style]") -> "Iterable[Chart]":
        from analysis.report.strength_curves import strength_curves

        for kind, axis in AXIS_TITLES.items():
            seen = observations[observations["kind"] == kind]
            for metric, title in (("consistency_percent", "Consistency (%)"), ("top1_percent", "Top-1 (%)")):
                yield from strength_curves(seen, look, metric, title=TITLES[kind], x_title=axis, y_title=title)


def _preparation(data: Mapping[str, Any]) -> "Preparation":
    from analysis.invariance.views import Preparation

    return Preparation(data["resolution"], data["crop_pct"], data["interpolation"])


def _views(config: Config) -> "list[StrongView]":
    """The standard view, and after it those that are asked for."""
    from analysis.invariance.protocols import STANDARD, views_of

    settings, size = InvarianceSettings(**config["task"]), config["data"]["resolution"]
    found = [STANDARD]
    for kind in settings.kinds:
        found += views_of(kind, settings.strengths(kind, size), settings.protocol)
    return found


def _questions(subject: "Trained", views: "Sequence[StrongView]", config: Config) -> "list[Question]":
    """Several views are made of an image each time that it is read."""
    from analysis.invariance.protocols import SideBySide
    from training.views import Group

    from .from_config.answers import Question

    settings, preparation, found = InvarianceSettings(**config["task"]), _preparation(config["data"]), []
    for number, start in enumerate(range(0, len(views), VIEWS_PER_PASS)):
        seen = views[start : start + VIEWS_PER_PASS]
        by_name = {view.name: partial(_channels_of, place) for place, view in enumerate(seen)}
        transform = SideBySide(seen, preparation)
        batches = partial(subject.batches, settings.batch_size, transform=transform, seed=config["seed"])
        found.append(Question(Group(f"pass_{number}", by_name), lambda: subject.network, batches))
    return found


def _channels_of(place: int, pixels: "Tensor", labels: "Tensor") -> "Tensor":
    """One of the views that lie side by side in the channels."""
    return pixels[:, 3 * place : 3 * place + 3]


def _by_metric(found: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The consistencies that a metric is the mean of."""
    grouped: dict[str, list[float]] = {}
    for each in found:
        name = f"{each['strength']}_flip" if each["kind"] == "flip" else each["kind"]
        grouped.setdefault(f"{name}_consistency_percent", []).append(each["consistency_percent"])
    return grouped
