"""How well a network's probabilities say how often it is right.

Sources: Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 2 (expected calibration
error, reliability diagrams, negative log-likelihood) and section 4.2 (temperature scaling); bins of equal mass: Nguyen
and O'Connor, arXiv:1508.05154, section 3; the Brier score for several classes: Brier, Monthly Weather Review 78 (1950).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.02, 50.0
"""Where a temperature is looked for. One at the end of it says that the likelihood grows beyond."""
WIDE = 1.959963984540054
"""Quantile of the normal distribution that leaves 95 % between itself and its negative."""

Answers = Iterable[tuple[Tensor, Tensor]]
"""Chunks of logits (B, classes) with labels (B, K): up to K right answers, negative where there are fewer."""


class Scores(NamedTuple):
    """Of each image that has a label (N), float64 and bool."""

    confidence: np.ndarray  # probability of the likeliest class
    right: np.ndarray  # whether that class is a right one
    log_probability: np.ndarray  # natural logarithm of the probability of all right classes together
    brier: np.ndarray  # squared differences of probabilities from what is so, summed


def scores(answers: Answers, temperature: float = 1.0) -> Scores:
    """What the softmax of logits / `temperature` says of each image.

    Several right answers count as one class: what the network gives to any of them, it gives to what is so.
    """
    parts = [_scores(logits, labels, temperature) for logits, labels in answers]
    return Scores(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _scores(logits: Tensor, labels: Tensor, temperature: float) -> Scores:
    labelled = (labels >= 0).any(1)
    logits, labels = logits[labelled].double(), labels[labelled]
    log_probabilities = (logits / temperature).log_softmax(1)
    probabilities = log_probabilities.exp()
    right = torch.zeros_like(probabilities, dtype=torch.bool)
    # A label that is missing marks what the first has marked.
    right.scatter_(1, torch.where(labels >= 0, labels, labels.amax(1, keepdim=True)), True)
    confidence, answer = probabilities.max(1)
    wrong = probabilities.masked_fill(right, 0)
    found = (
        confidence,
        right.gather(1, answer[:, None])[:, 0],
        log_probabilities.masked_fill(~right, -torch.inf).logsumexp(1),
        wrong.square().sum(1) + wrong.sum(1).square(),
    )
    return Scores(*(column.cpu().numpy() for column in found))


@dataclass(frozen=True)
class Bin:
    """Images of similar confidence; confidence and accuracy are means over them, between 0 and 1."""

    images: int
    right: int
    confidence: float

    @property
    def accuracy(self) -> float:
        return self.right / self.images

    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy, which is within 0 and 1 however few the images are."""
        share = WIDE**2 / self.images
        centre = (self.accuracy + share / 2) / (1 + share)
        half = math.sqrt(share * (self.accuracy * (1 - self.accuracy) + share / 4)) / (1 + share)
        return centre - half, centre + half


def equal_width_bins(found: Scores, count: int) -> list[Bin]:
    """Of `count` intervals of confidence, open below and closed above, those that any image is in."""
    places = np.clip(np.ceil(found.confidence * count).astype(int) - 1, 0, count - 1)
    return [_bin(found, np.flatnonzero(places == place)) for place in np.unique(places)]


def equal_mass_bins(found: Scores, count: int) -> list[Bin]:
    """At most `count` bins, of as many images each as the number allows, in the order of their confidence."""
    order = np.argsort(found.confidence, kind="stable")
    return [_bin(found, part) for part in np.array_split(order, count) if len(part)]


def _bin(found: Scores, images: np.ndarray) -> Bin:
    return Bin(len(images), int(found.right[images].sum()), float(found.confidence[images].mean()))


def calibration_error(bins: Iterable[Bin]) -> float:
    """The expected calibration error: mean over images of |accuracy - confidence| of their bins, between 0 and 1."""
    bins = list(bins)
    return sum(bin.images * abs(bin.accuracy - bin.confidence) for bin in bins) / sum(bin.images for bin in bins)


def fitted_temperature(answers: Callable[[], Answers]) -> float:
    """The temperature with the highest likelihood of the labels, between LEAST_ and MOST_TEMPERATURE.

    Args:
        answers: makes the chunks, anew for each of some 30 passes.
    """

    def loss(log_temperature: float) -> float:
        return -float(scores(answers(), math.exp(log_temperature)).log_probability.mean())

    # In 1 / temperature the loss is convex, so there is one minimum.
    bounds = math.log(LEAST_TEMPERATURE), math.log(MOST_TEMPERATURE)
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x)


def in_chunks(logits: np.ndarray, labels: np.ndarray, which: np.ndarray, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows `which` of logits (N, classes) and labels (N, K), `size` at a time; the arrays may be maps of files."""
    for start in range(0, len(which), size):
        rows = which[start : start + size]
        yield torch.from_numpy(logits[rows]), torch.from_numpy(labels[rows])
