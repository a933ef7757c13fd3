"""`task=adversarial`: how small a change of the images misleads a network, and whether the attacks can be believed."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from analysis.metrics import TOP1, Metric, percent
from training.settings import VALIDATION_BATCH_SIZE

from .analysis import AnalysisTask
from .hooks import Hooks
from .registry import register_task
from .task import CellOfTask, Results

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from analysis.adversarial.attacks import Answer, Norm
    from analysis.report.chart import Chart
    from analysis.report.style import Style
    from training.views import View

    from .from_config.trained import Trained

ATTACKS = ("pgd", "fgsm", "noise", "transfer")
"""`noise` goes as far in a random direction, `transfer` follows the gradient of a copy with noisy weights."""
ONE_STEP_NORM = "linf"
"""The norm whose ball FGSM goes to the corner of."""
TITLES = {
    "linf": ("ℓ∞", "Epsilon (of 255)"),
    "l2": ("ℓ2", "Epsilon (pixel values between 0 and 1)"),
}


@dataclass
class AdversarialSettings:
    """How strongly which images are attacked.

    Attributes:
        linf: greatest changes of a pixel value, of 255; the last one is to leave nothing right.
        l2: greatest lengths of an image's change, of pixel values between 0 and 1; likewise.
        steps: of PGD.
        transfer_noise: noise in the weights of the copy, as a share of each weight's root mean square.
        images: no more than these are attacked, at equal distances in the data set's order.
        batch_size: images per forward pass.
        average: of a run's directory, the moving average of the weights instead of the weights.
    """

    name: str = "adversarial"
    linf: list[float] = field(default_factory=lambda: [0.5, 1.0, 2.0, 4.0, 64.0])
    l2: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0, 2.0, 32.0])
    steps: int = 20
    transfer_noise: float = 0.02
    images: int = 512
    batch_size: int = VALIDATION_BATCH_SIZE
    average: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        for key, holds, rule in (
            ("linf", all(epsilon >= 0 for epsilon in self.linf), "must not be negative"),
            ("l2", all(epsilon >= 0 for epsilon in self.l2), "must not be negative"),
            ("steps", self.steps >= 1, "must be at least 1"),
            ("transfer_noise", self.transfer_noise > 0, "must be positive"),
            ("images", self.images >= 1, "must be at least 1"),
            ("batch_size", self.batch_size >= 1, "must be at least 1"),
        ):
            if not holds:
                raise ValueError(f"task.{key}={getattr(self, key)!r}: {rule}")
        for key in ("linf", "l2"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"task.{key}={values!r}: must not repeat a value")
        if not self.linf and not self.l2:
            raise ValueError("task.linf=[], task.l2=[]: one of them must name an epsilon")


@register_task("adversarial")
class AdversarialTask(AnalysisTask):
    """Accuracy under FGSM and PGD, with the checks that a network fails whose gradients lead attacks astray."""

    title = "Adversarial attacks"
    says = (
        "Top-1 under attacks that know the network's gradient, the mean over epsilons, on some of the images; and how "
        "many checks say that the attacks are not to be believed."
    )
    settings = AdversarialSettings
    metrics = (
        TOP1,
        percent("fgsm_linf_top1_percent", "FGSM ℓ∞"),
        percent("pgd_linf_top1_percent", "PGD ℓ∞"),
        percent("pgd_l2_top1_percent", "PGD ℓ2"),
        percent("noise_linf_top1_percent", "noise ℓ∞"),
        percent("transfer_linf_top1_percent", "transfer ℓ∞"),
        Metric("failed_checks", "failed checks", better="lower", least=0, whole=True),
    )
    code = (
        "analysis/adversarial",
        "analysis/robustness/weights.py",
        "training",
        "tasks/from_config/answers.py",
        "tasks/from_config/trained.py",
        "tasks/from_config/weights.py",
    )
    draws = True

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        from analysis.adversarial.masking import failed_checks
        from training.views import Group

        from .from_config.answers import Question, answers
        from .from_config.trained import trained

        settings = AdversarialSettings(**cell.config["task"])
        subject = trained(cell.config, show_progress=hooks.show_progress)
        subject.network.requires_grad_(False)
        batches = partial(subject.batches, settings.batch_size, most=settings.images)
        views = _views(subject, settings, cell.config["seed"])
        questions = [
            Question(Group(name, {name: view}), lambda: subject.network, batches) for name, view in views.items()
        ]
        accuracies = {
            name: 100 * float(outcomes["top1"].mean())
            for found in answers(subject, questions, cell, hooks)
            for name, outcomes in found.items()
        }
        clean = accuracies["clean"]
        curves = _curves(settings, accuracies)
        failed = [
            said
            for norm in TITLES
            if (norm, "pgd") in curves
            for said in failed_checks(
                norm,
                clean,
                curves[norm, "pgd"],
                {attack: curves[norm, attack] for attack in ATTACKS[1:] if (norm, attack) in curves},
            )
        ]
        observations = [
            {"norm": norm, "attack": attack, "strength": epsilon, "top1_percent": accuracy}
            for (norm, attack), curve in curves.items()
            for epsilon, accuracy in {0.0: clean, **curve}.items()
        ]
        means = {
            f"{attack}_{norm}_top1_percent": sum(curve.values()) / len(curve)
            for (norm, attack), curve in curves.items()
        }
        results = subject.results({"top1_percent": clean, "failed_checks": len(failed), **means}, observations)
        return {**results, "details": {**results["details"], "failed_checks": failed}}

    def charts(self, observations: "pd.DataFrame", look: "Mapping[str, Style]") -> "Iterable[Chart]":
        from analysis.report.strength_curves import strength_curves

        for norm, (said, axis) in TITLES.items():
            for attack, name in (("pgd", "PGD"), ("fgsm", "FGSM"), ("noise", "Noise of the same size")):
                seen = observations[(observations["norm"] == norm) & (observations["attack"] == attack)]
                yield from strength_curves(
                    seen,
                    look,
                    "top1_percent",
                    title=f"{name}, {said}",
                    x_title=axis,
                    y_title="Top-1 (%)",
                    logarithmic=True,
                )


def _views(subject: "Trained", settings: AdversarialSettings, seed: int) -> "dict[str, View]":
    """By name the images as they are, and after each attack at each epsilon."""
    from analysis.adversarial.attacks import fgsm, noise, pgd
    from analysis.robustness.weights import with_noise
    from training.seeds import generator

    own = partial(subject.logits, subject.network)
    draws = generator(seed, zlib.crc32(b"the copy"))
    copy = partial(subject.logits, with_noise(subject.network, settings.transfer_noise, draws))

    def attack(name: str, norm: "Norm", epsilon: float) -> "View":
        draws = generator(seed, zlib.crc32(_name(norm, name, epsilon).encode()))
        values = 255 * epsilon if norm == "l2" else epsilon

        def iterated(answer: "Answer", pixels: "Tensor", labels: "Tensor") -> "Tensor":
            return pgd(answer, pixels, labels, values, norm, steps=settings.steps, draws=draws)

        return {
            "pgd": partial(iterated, own),
            "transfer": partial(iterated, copy),
            "fgsm": lambda pixels, labels: fgsm(own, pixels, labels, values),
            "noise": lambda pixels, labels: noise(pixels, values, norm, draws=draws),
        }[name]

    found: dict[str, View] = {"clean": lambda pixels, labels: pixels}
    for norm, name, epsilon in _attacks(settings):
        found[_name(norm, name, epsilon)] = attack(name, norm, epsilon)
    return found


def _attacks(settings: AdversarialSettings) -> "list[tuple[Norm, str, float]]":
    """Norm, attack and epsilon of all."""
    return [
        (norm, name, epsilon)
        for norm, epsilons in (("linf", settings.linf), ("l2", settings.l2))
        for name in ATTACKS
        if norm == ONE_STEP_NORM or name in ("pgd", "noise")
        for epsilon in epsilons
    ]


def _name(norm: str, attack: str, epsilon: float) -> str:
    return f"{attack}_{norm}_{epsilon:g}"


def _curves(
    settings: AdversarialSettings, accuracies: Mapping[str, float]
) -> "dict[tuple[Norm, str], dict[float, float]]":
    """Accuracy by epsilon, of each norm and attack."""
    curves: dict[tuple[Norm, str], dict[float, float]] = {}
    for norm, attack, epsilon in _attacks(settings):
        curves.setdefault((norm, attack), {})[epsilon] = accuracies[_name(norm, attack, epsilon)]
    return curves
