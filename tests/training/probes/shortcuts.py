"""What a probe must not be solvable by: classifiers that see pixels, colours or patches, but no two places together."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import ndtri

PATCH = 9
FILTERS = 64


def pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 100


def histogram(images: np.ndarray) -> np.ndarray:
    """Share of each of 16 levels in each channel."""
    levels = (images + 128) // 16
    return np.stack([(levels == level).mean((2, 3)) for level in range(16)], 1).reshape(len(images), -1) * 10


def bag_of_patches(images: np.ndarray) -> np.ndarray:
    """How strongly, on the average over all places, a patch resembles each of FILTERS patches that occur.

    The image lies on more of its background, so that a patch's place in the image cannot be told from what is cut off.
    """
    images = np.pad(images, ((0, 0), (0, 0), (PATCH - 1,) * 2, (PATCH - 1,) * 2))
    rng = np.random.default_rng(0)
    height, width = images.shape[2:]
    chosen = []
    while len(chosen) < FILTERS:
        index, row, column = rng.integers((len(images), height - PATCH + 1, width - PATCH + 1))
        patch = images[index, :, row : row + PATCH, column : column + PATCH]
        if patch.any():
            chosen.append(patch / np.linalg.norm(patch))
    filters = torch.from_numpy(np.stack(chosen))
    found = []
    for part in torch.from_numpy(images).double().div(100).split(256):
        maps = F.conv2d(part, filters, stride=2)
        found.append(torch.cat([maps.relu().square().mean((2, 3)), maps.abs().mean((2, 3))], 1))
    return torch.cat(found).numpy()


def accuracy(features: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """Share of right answers of a ridge regression on the second half, learned on the first; how many were asked.

    The question is which of two classes it is, for each class against each other one, all equally weighted: who always
    says the same is right half of the time. Among more classes, the largest of scores that are pure noise is right more
    often than by chance: that of an image's own class spreads most, as its images resemble it most.
    """
    half, classes = len(labels) // 2, labels.max() + 1
    mean, spread = features[:half].mean(0), features[:half].std(0) + 1e-3
    known, asked = (
        np.hstack([(part - mean) / spread, np.ones((len(part), 1))]) for part in (features[:half], features[half:])
    )
    targets = np.eye(classes)[labels[:half]]
    weights = np.linalg.solve(known.T @ known + 0.1 * half * np.eye(known.shape[1]), known.T @ targets)
    # Equal features may differ in their last digits, by the order of their sums.
    scores, answers = (asked @ weights).round(9), labels[half:]
    better = scores[np.arange(half), answers][:, None] - scores
    right = ((better > 0) + 0.5 * (better == 0)).sum(1) - 0.5  # without the class against itself
    shares = [right[answers == label].mean() / (classes - 1) for label in range(classes)]
    return float(np.mean(shares)), half


def is_chance(share: float, asked: int, confidence: float = 0.999) -> bool:
    """Whether `share` of `asked` answers right is what guessing between two gives, by the normal approximation."""
    return abs(share - 0.5) <= ndtri((1 + confidence) / 2) * 0.5 / np.sqrt(asked)
