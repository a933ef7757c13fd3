"""Optical recognition of handwritten digits (Alpaydin and Kaynak 1998): 1,797 grey images of 8×8, in scikit-learn.

Every fifth image of each class is for validation (355), the rest for training (1,442).
"""

import torch

from ..settings import DataSettings
from .images import Split, StoredImages

VALIDATION_EVERY = 5


def check(data: DataSettings, split: Split) -> None:
    """The images come with scikit-learn, which is installed with this project; there is nothing to set."""


def load(data: DataSettings, split: Split) -> StoredImages:
    from sklearn.datasets import load_digits  # takes a second, and only this data set needs it

    digits = load_digits()
    labels = torch.from_numpy(digits.target).long()
    pixels = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    rank_in_class = torch.zeros_like(labels)
    for label in labels.unique():
        members = labels == label
        rank_in_class[members] = torch.arange(int(members.sum()))
    is_validation = rank_in_class % VALIDATION_EVERY == VALIDATION_EVERY - 1
    chosen = is_validation if split == "validation" else ~is_validation
    return StoredImages(pixels[chosen], labels[chosen])
