"""The part of an accuracy's error that comes from the images: with others, it would have been another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .outcomes import Outcomes


@dataclass(frozen=True)
class ImagesError:
    """What other images of the same kind would change.

    Attributes:
        covariance: (rows, rows), of the rows' means over seeds, in squared percent: the images' own part.
        seeds_variance: (rows), the part of a seed's variance that must be there because seeds disagree on images; NaN
            for a row with one seed.
        count: number of images.
    """

    covariance: np.ndarray
    seeds_variance: np.ndarray
    count: int


def images_error(rows: Sequence[Sequence[Outcomes]], metric: str) -> ImagesError | None:
    """From outcomes of the same images, a sequence of seeds for each row. None where no two images are in all of them.

    Images and seeds are crossed random effects. The variance over images of a mean over n seeds holds the images' part
    and 1/n of what seeds disagree on; the latter is in the variance over seeds already, so it is taken out.
    """
    means, within = [], []
    for seeds in _aligned(rows):
        hits = _hits(seeds, metric)
        means.append(hits.mean(0))
        within.append(hits.var(0, ddof=1).mean() if len(hits) > 1 else np.nan)
    count = len(means[0])
    if count < 2:
        return None
    covariance, within = np.atleast_2d(np.cov(means)) / count, np.array(within) / count
    covariance[np.diag_indices(len(rows))] -= np.nan_to_num(within) / [len(seeds) for seeds in rows]
    return ImagesError(covariance, within, count)


def _aligned(rows: Sequence[Sequence[Outcomes]]) -> list[list[Outcomes]]:
    """Only the images that all have, in one order."""
    every = [outcomes for seeds in rows for outcomes in seeds]
    if all(np.array_equal(outcomes["image"], every[0]["image"]) for outcomes in every):
        return [list(seeds) for seeds in rows]
    shared = every[0]["image"]
    for outcomes in every[1:]:
        shared = np.intersect1d(shared, outcomes["image"])
    return [[_only(outcomes, shared) for outcomes in seeds] for seeds in rows]


def _only(outcomes: Outcomes, images: np.ndarray) -> Outcomes:
    order = np.argsort(outcomes["image"])
    return outcomes[order[np.searchsorted(outcomes["image"], images, sorter=order)]]


def _hits(seeds: Sequence[Outcomes], metric: str) -> np.ndarray:
    """(seeds, images), 100 where the answer is right, so that means are percent."""
    return 100 * np.stack([outcomes[HITS[metric]] for outcomes in seeds]).astype(np.float64)


HITS = {"top1_percent": "top1", "top5_percent": "top5"}
"""The field of an outcome that says whether an image counts in a metric."""
