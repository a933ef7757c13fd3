"""What a source of data hands over: images with labels, all in memory or to be read one by one."""

import os
import stat
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

Split = Literal["train", "validation"]
NO_LABEL = -1
"""Fills up rows of labels, and stands for an image that could not be read: it counts in no score."""


class Images(Protocol):
    """Images by number. `labels` is int64 of N, or of N, K where up to K answers are right (see `NO_LABEL`)."""

    labels: Tensor
    classes: Tensor | None
    """The only labels that there are, where the data set says so: other answers of a network are not looked at."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> bytes | np.ndarray:
        """A file's content, or pixels: uint8 of H, W, 3. Raises OSError where it cannot be read."""

    def name(self, index: int) -> str:
        """Where to look for the image."""


@dataclass(frozen=True)
class StoredImages:
    """A small data set as tensors: `pixels` uint8 of N, C, H, W with C 1 (grey) or 3, `labels` int64 of N; of a larger
    one every `step`-th image."""

    pixels: Tensor
    labels: Tensor
    classes: Tensor | None = None
    step: int = 1

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> np.ndarray:
        return self.pixels[index].expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()

    def name(self, index: int) -> str:
        return f"image {index * self.step}"


@dataclass(frozen=True)
class ImageFiles:
    """Image files with their labels."""

    paths: list[str]
    labels: Tensor
    classes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> bytes:
        # A pipe would be waited for, if it were not opened so; regular files are not changed by it.
        with open(self.paths[index], "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("it is not a regular file, but a pipe, a socket or a device")
            return file.read()

    def name(self, index: int) -> str:
        return self.paths[index]


class EveryNth:
    """Every `step`-th of other images, which keep their names."""

    def __init__(self, images: Images, step: int) -> None:
        self.images = images
        self.step = step
        self.labels = images.labels[::step]
        self.classes = images.classes

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> bytes | np.ndarray:
        return self.images.read(index * self.step)

    def name(self, index: int) -> str:
        return self.images.name(index * self.step)


def at_most(images: Images, most: int) -> Images:
    """Up to `most` images at equal distances in the data set's order, so that classes keep their shares."""
    step = -(-len(images) // most)
    if step <= 1:
        return images
    if isinstance(images, StoredImages):
        return StoredImages(images.pixels[::step], images.labels[::step], images.classes, images.step * step)
    return EveryNth(images, step)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def labels_tensor(labels: list[int]) -> Tensor:
    return torch.tensor(labels, dtype=torch.int64)
