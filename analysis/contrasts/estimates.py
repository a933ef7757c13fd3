"""The rows of a comparison as means with one joint error, from seeds and images."""

from dataclasses import dataclass

import numpy as np

from .images import ImagesError

# Accuracies are counts of images; what differs by less than this in squared percent, differs by rounding.
NO_VARIANCE = 1e-12


@dataclass(frozen=True)
class Estimates:
    """Means of rows, and how far off they may be.

    Attributes:
        means, seeds: (rows).
        variance: of one seed, pooled over rows.
        variances: (rows), of one seed of each row.
        freedom: degrees of freedom of `variance`, the sum of seeds - 1.
        images: None where outcomes per image are not known, so that intervals are of the seeds only.
    """

    means: np.ndarray
    seeds: np.ndarray
    variance: float
    variances: np.ndarray
    freedom: int
    images: ImagesError | None

    @property
    def known(self) -> bool:
        """Whether there is an error to speak of: seeds that differ, or images."""
        return self.images is not None or (self.freedom > 0 and self.variance > NO_VARIANCE)

    @property
    def covers(self) -> str:
        """Whose error the intervals hold."""
        parts = ["seeds"] if self.freedom > 0 and self.known else []
        parts += ["images"] if self.images is not None else []
        return " and ".join(parts) or "nothing"

    def of_seeds(self) -> np.ndarray:
        """(rows, rows): the seeds' part of the variance of each difference."""
        each = self.variances / self.seeds
        return each[:, None] + each[None, :]

    def of_images(self) -> np.ndarray:
        """(rows, rows): the images' part."""
        if self.images is None:
            return np.zeros((len(self.means), len(self.means)))
        covariance = self.images.covariance
        own = np.diag(covariance)
        return np.maximum(own[:, None] + own[None, :] - 2 * covariance, 0)

    def errors(self) -> np.ndarray:
        """(rows, rows): standard error of the difference of two rows' means."""
        return np.sqrt(self.of_seeds() + self.of_images())

    def freedoms(self) -> np.ndarray:
        """(rows, rows): degrees of freedom of `errors`, by Satterthwaite's rule for a sum of two variances."""
        of_seeds, of_images = self.of_seeds(), self.of_images()
        count = 0 if self.images is None else self.images.count - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = (of_seeds**2 / self.freedom if self.freedom else 0) + (of_images**2 / count if count else 0)
            total = (of_seeds + of_images) ** 2 / parts
        # Without any variance the ratio is 0/0; an error of zero then has all the freedom there is.
        return np.where(np.isfinite(total), total, max(self.freedom, count))

    def least_correlation(self, row: int) -> float:
        """The smallest correlation between the differences of `row` to two others; 1 where there are no two."""
        if len(self.means) < 3:
            return 1.0
        each = self.variances / self.seeds
        if self.images is None:  # the least is that of the two others that are known worst
            worst = np.sort(np.delete(each, row))[-2:]
            return float(each[row] / np.sqrt((each[row] + worst).prod()))
        others = np.delete(np.arange(len(self.means)), row)
        joint = np.diag(each) + self.images.covariance
        errors = self.errors()[row]
        shared = joint[row, row] - joint[row][:, None] - joint[row][None, :] + joint
        with np.errstate(divide="ignore", invalid="ignore"):
            correlations = (shared / (errors[:, None] * errors[None, :]))[np.ix_(others, others)]
        return float(np.nan_to_num(correlations[np.triu_indices(len(others), 1)]).min())


def estimates(rows: list[np.ndarray], images: ImagesError | None = None) -> Estimates:
    """From the scores of each row's seeds; every row has at least one.

    Two or three seeds say little about their own spread, so rows share what is known of it: the pooled variance. A row
    whose own is larger keeps its own, though, since not all mixers train equally steadily: with one spread three times
    as wide, the pooled variance alone calls rows worse without reason in one table of eight. And a variance is at least
    what the seeds' disagreement about images implies: seeds that happen to be right equally often are not equal.
    """
    seeds = np.array([len(row) for row in rows])
    freedom = int((seeds - 1).sum())
    own = np.array([row.var(ddof=1) if len(row) > 1 else 0.0 for row in rows])
    least = np.zeros(len(rows)) if images is None else np.nan_to_num(images.seeds_variance)
    own = np.maximum(own, least)
    pooled = float((own * (seeds - 1)).sum() / freedom) if freedom else 0.0
    return Estimates(np.array([row.mean() for row in rows]), seeds, pooled, np.maximum(own, pooled), freedom, images)
