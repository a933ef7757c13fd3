"""`task=calibration`: is a network right as often as it says?"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.metrics import TOP1, Metric, percent
from training.settings import VALIDATION_BATCH_SIZE

from .analysis import AnalysisTask
from .hooks import VIEWS, Hooks
from .registry import register_task
from .task import CellOfTask, Results

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from analysis.calibration import Bin, Scores
    from analysis.report.chart import Chart
    from analysis.report.style import Style

CHUNK = 2048
"""Images whose probabilities are in memory at once."""


@dataclass
class CalibrationSettings:
    """How probabilities are held against what is so.

    Attributes:
        bins: of confidence, for the calibration error and the reliability diagram.
        batch_size: images per forward pass.
        average: of a run's directory, the moving average of the weights instead of the weights.
    """

    name: str = "calibration"
    bins: int = 15
    batch_size: int = VALIDATION_BATCH_SIZE
    average: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        for key in ("bins", "batch_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"task.{key}={getattr(self, key)}: must be at least 1")


def _error(name: str, label: str) -> Metric:
    return percent(name, label, better="lower")


@register_task("calibration")
class CalibrationTask(AnalysisTask):
    """Whether a network is right as often as it is sure: calibration error, likelihood, Brier score, temperature."""

    title = "Calibration"
    says = (
        "ECE: how far accuracy is from confidence, over bins of equal width; adaptive: of equal mass. The temperature "
        "T is fitted on one half of the images; judged is the other half as it is, scaled the same with T."
    )
    settings = CalibrationSettings
    metrics = (
        TOP1,
        _error("ece_percent", "ECE"),
        _error("adaptive_ece_percent", "adaptive"),
        Metric("nll_nats", "NLL", unit="nats", better="lower", digits=4, least=0),
        Metric("brier_score", "Brier", better="lower", digits=4, least=0, most=2),
        Metric("temperature", "T", digits=3, least=0),
        _error("judged_ece_percent", "judged ECE"),
        _error("scaled_ece_percent", "scaled ECE"),
        Metric("judged_nll_nats", "judged NLL", unit="nats", better="lower", digits=4, least=0),
        Metric("scaled_nll_nats", "scaled NLL", unit="nats", better="lower", digits=4, least=0),
    )
    code = (
        "training",
        "tasks/from_config/weights.py",
        "tasks/from_config/trained.py",
        "analysis/calibration/scores.py",
    )

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        import numpy as np

        from analysis.calibration import fitted_temperature, in_chunks, scores
        from architectures.inference import inference_form
        from training.logits import stored_logits
        from training.nonfinite import NonFiniteLossError
        from training.progress import Progress

        from .from_config.trained import trained

        settings = CalibrationSettings(**cell.config["task"])
        subject = trained(cell.config, show_progress=hooks.show_progress)
        batches, form = subject.batches(settings.batch_size), inference_form(subject.network)
        kept = cell.directory / VIEWS / hooks.version / "logits"
        with Progress(f"calibration on {subject.data.name}", hooks.show_progress) as progress:
            progress.begin(len(batches))
            answered = stored_logits(
                batches,
                lambda pixels: subject.logits(form, pixels),
                kept,
                classes=subject.spec.num_classes,
                batch_size=settings.batch_size,
                on_batch=progress.advance,
            )
        _write_outcomes(cell, answered, batches)
        counted = np.flatnonzero((answered["labels"] >= 0).any(1))
        fitted, judged = _halves(counted, batches)

        def of(images: "np.ndarray", temperature: float = 1.0) -> "Scores":
            return scores(in_chunks(answered["logits"], answered["labels"], images, CHUNK), temperature)

        if not np.isfinite(of(counted).log_probability).all():
            raise NonFiniteLossError("the network's answers to the validation images are not finite")
        temperature = fitted_temperature(lambda: in_chunks(answered["logits"], answered["labels"], fitted, CHUNK))
        whole, before, after = of(counted), of(judged), of(judged, temperature)
        results = _summary(whole, settings.bins) | {"temperature": temperature}
        for name, found in (("judged", before), ("scaled", after)):
            summary = _summary(found, settings.bins)
            results |= {f"{name}_{key}": summary[key] for key in ("ece_percent", "nll_nats")}
        observations = [
            *_observations("all images", whole, settings.bins),
            *_observations("judged", before, settings.bins),
            *_observations("judged, scaled", after, settings.bins),
        ]
        kept.unlink()
        return subject.results(results, observations)

    def charts(self, observations: "pd.DataFrame", look: "Mapping[str, Style]") -> "Iterable[Chart]":
        from analysis.calibration.diagrams import reliability_diagrams

        return reliability_diagrams(observations, look)


def _write_outcomes(cell: CellOfTask, answered: "np.ndarray", batches: Any) -> None:
    """As evaluation does, so that networks can be compared image by image."""
    import torch

    from training.outcomes import Outcomes, answers

    outcomes = Outcomes()
    for start in range(0, len(answered), CHUNK):
        chunk = answered[start : start + CHUNK]
        outcomes.add(answers(torch.tensor(chunk["logits"]), torch.tensor(chunk["labels"])))
    outcomes.write(cell.directory / "outcomes.npy", batches)


def _halves(counted: "np.ndarray", batches: Any) -> tuple["np.ndarray", "np.ndarray"]:
    """Images for the temperature, and those that it is judged on: by their names, so that all networks have the same.

    Raises: NoImagesError where one of them would be empty.
    """
    import numpy as np

    from training.evaluate import NoImagesError
    from training.outcomes import image_key

    even = np.array(
        [image_key(batches.images.name(int(image)), batches.root) % 2 == 0 for image in counted], dtype=bool
    )
    if even.all() or not even.any():
        raise NoImagesError(
            f"{len(counted)} of {len(batches.images)} validation images can be read and have a label: too few to fit a "
            "temperature on some of them and to judge it on others"
        )
    return counted[even], counted[~even]


def _summary(found: "Scores", bins: int) -> dict[str, float]:
    from analysis.calibration import calibration_error, equal_mass_bins, equal_width_bins

    return {
        "top1_percent": 100 * int(found.right.sum()) / len(found.right),
        "ece_percent": 100 * calibration_error(equal_width_bins(found, bins)),
        "adaptive_ece_percent": 100 * calibration_error(equal_mass_bins(found, bins)),
        "nll_nats": -float(found.log_probability.mean()),
        "brier_score": float(found.brier.mean()),
    }


def _observations(images: str, found: "Scores", count: int) -> Iterator[dict[str, Any]]:
    from analysis.calibration import equal_mass_bins, equal_width_bins

    for kind, bins in (("equal width", equal_width_bins), ("equal mass", equal_mass_bins)):
        yield from (_observation(images, kind, bin) for bin in bins(found, count))


def _observation(images: str, kind: str, bin: "Bin") -> dict[str, Any]:
    low, high = bin.interval()
    return {
        "of": images,
        "bins": kind,
        "images": bin.images,
        "right": bin.right,
        "confidence_percent": 100 * bin.confidence,
        "accuracy_percent": 100 * bin.accuracy,
        "accuracy_low_percent": 100 * low,
        "accuracy_high_percent": 100 * high,
    }
