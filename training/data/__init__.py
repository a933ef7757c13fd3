"""Data sets: where images come from (one file per kind of source) and how they become batches.

A new kind of source is one file with `check(data, split)` and `load(data, split)`, and its line in `SOURCES`. One whose
images are neither files nor in memory, or cost something to load, also has `digest(data, split)`; see `digest.py`.
Probes, whose images are drawn, have a folder of their own.
"""

import hashlib
import logging
from collections.abc import Iterator
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from ..distributed import ALONE, Ranks
from ..settings import DataSettings, RecipeSettings
from . import (
    cifar,
    digits,
    fashion_mnist,
    hugging_face,
    image_folder,
    imagenet,
    imagenet_real,
    imagenet_v2,
    tar_shards,
    wnid_folders,
)
from .decoding import DECODERS
from .digest import images_digest
from .file_batches import FileBatches
from .findings import Findings
from .images import NO_LABEL, Images, Split, StoredImages, at_most
from .memory_batches import MemoryTrainingBatches, MemoryValidationBatches
from .probes import PROBES, ProbeSource
from .transform import RESIZERS, Transform


class Source(Protocol):
    """A module or object that knows one kind of data set."""

    def check(self, data: DataSettings, split: Split) -> None:
        """Refuses settings and missing files, as `check_data` does."""

    def load(self, data: DataSettings, split: Split) -> Images: ...


SOURCES: dict[str, Source] = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar,
    "cifar100": cifar,
    "image_folder": image_folder,
    "imagenet": imagenet,
    "imagenet_v2": imagenet_v2,
    "imagenet_real": imagenet_real,
    "wnid_folders": wnid_folders,
    "tar_shards": tar_shards,
    "hugging_face": hugging_face,
    **{f"probe_{name}": ProbeSource(name) for name in PROBES},
}
log = logging.getLogger(__name__)

INTERPOLATIONS = ("bilinear", "bicubic")
MOST_WORKERS = 1024


class Batches(Protocol):
    """Batches of pixel values between 0 and 255 (B, 3, H, W) with labels (B), on the device they were asked for.

    `findings` holds what came to light about damaged and unusual images; `classes` is as in `Images`. `images` are
    those of all ranks, in the data set's order, from below `root`; in validation, rank r of n has images r, r + n, ...
    """

    findings: Findings
    classes: Tensor | None
    images: Images
    root: str | None

    def __len__(self) -> int:
        """Batches per epoch."""

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch from `first_batch` on; the same epoch always gives the same ones."""


def check_data(data: DataSettings, splits: tuple[Split, ...] = ("train", "validation")) -> None:
    """Refuses impossible settings and missing files before anything is built. Reads no image.

    Raises:
        ValueError, OSError: one sentence that names the key or file and what to do.
    """
    if data.source not in SOURCES:
        raise ValueError(f"data.source={data.source!r}: choose from {', '.join(SOURCES)}")
    for key, choices in (("interpolation", INTERPOLATIONS), ("decoder", DECODERS), ("resizer", RESIZERS)):
        if getattr(data, key) not in choices:
            raise ValueError(f"data.{key}={getattr(data, key)!r}: choose from {', '.join(choices)}")
    for key, holds, rule in (
        ("resolution", data.resolution >= 1, "must be positive"),
        ("num_classes", data.num_classes is None or data.num_classes >= 2, "must be null or at least 2"),
        ("crop_pct", data.crop_pct is not None and 0 < data.crop_pct <= 1, "must be above 0 and at most 1"),
        ("mean", len(data.mean) == 3, "must be three numbers"),
        ("std", len(data.std) == 3 and min(data.std) > 0, "must be three positive numbers"),
        ("horizontal_flip", 0 <= data.horizontal_flip <= 1, "must be between 0 and 1"),
        ("max_corrupt_share", 0 <= data.max_corrupt_share <= 1, "must be between 0 and 1"),
        ("workers", 0 <= data.workers <= MOST_WORKERS, f"must be between 0 and {MOST_WORKERS}"),
    ):
        if not holds:
            raise ValueError(f"data.{key}={getattr(data, key)!r}: {rule}")
    if data.options and not isinstance(SOURCES[data.source], ProbeSource):
        raise ValueError(f"data.options={data.options!r}: data.source={data.source} takes none")
    for split in splits:
        SOURCES[data.source].check(data, split)


def data_digest(data: DataSettings, splits: tuple[Split, ...]) -> str | None:
    """Tells images and labels of these splits from others, wherever they lie; see `digest.py`. None of no split.

    Raises: ValueError, OSError as `check_data`, and where there are no images.
    """
    source = SOURCES[data.source]
    digest = getattr(source, "digest", partial(images_digest, load=source.load))
    parts = [f"{split} {digest(data, split)}" for split in splits]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12] if parts else None


def count_classes(data: DataSettings) -> int:
    """`data.num_classes`, or where that is None the number of class folders."""
    if data.num_classes is not None:
        return data.num_classes
    if SOURCES[data.source] not in (image_folder, imagenet):
        raise ValueError(f"data.num_classes is not set, and data.source={data.source} does not tell")
    return len(image_folder.class_names(data))


def count_images(data: DataSettings, split: Split) -> int:
    """How many images the data set publishes, or where that is not known, how many there are.

    Raises: ValueError, OSError as `check_data` where they have to be counted.
    """
    published = data.train_images if split == "train" else data.validation_images
    return len(_load(data, split)) if published is None else published


def training_batches(
    data: DataSettings, recipe: RecipeSettings, *, seed: int, device: torch.device, ranks: Ranks = ALONE
) -> Batches:
    """Shuffled, augmented batches: of each, this rank's share.

    Small data sets are transformed batch by batch on the device, unless the recipe asks for what only timm's transforms
    of single images offer.

    Raises:
        ValueError: fewer images than one batch, or a label out of range.
        OSError: missing or damaged files.
    """
    images = _load(data, "train")
    if recipe.batch_size % (ranks.count * recipe.accumulation) != 0:
        raise ValueError(
            f"recipe.batch_size={recipe.batch_size} cannot be divided among {ranks.count} ranks "
            f"with recipe.accumulation={recipe.accumulation}"
        )
    if len(images) < recipe.batch_size:
        raise ValueError(
            f"{data.name} has {len(images)} training images, fewer than recipe.batch_size={recipe.batch_size}"
        )
    if isinstance(images, StoredImages) and recipe.random_augment is None and recipe.color_jitter == 0:
        return MemoryTrainingBatches(images, data, recipe, seed=seed, device=device, ranks=ranks)
    return FileBatches(images, data, recipe, batch_size=recipe.batch_size, seed=seed, device=device, ranks=ranks)


def validation_batches(
    data: DataSettings,
    *,
    batch_size: int,
    device: torch.device,
    ranks: Ranks = ALONE,
    transform: Transform | None = None,
    seed: int = 0,
    most: int | None = None,
) -> Batches:
    """All validation images in a fixed order, not augmented; this rank's share. Raises as `training_batches` does.

    Args:
        transform: what is made of each whole image, by worker processes, instead of resizing it and cropping it at the
            centre; it may draw from the global generators, which are set from `seed` and the image.
        most: no more images than these, at equal distances.
    """
    images = _load(data, "validation")
    if most is not None:
        images = at_most(images, most)
    if isinstance(images, StoredImages) and transform is None:
        return MemoryValidationBatches(images, data, batch_size=batch_size, device=device, ranks=ranks)
    return FileBatches(
        images, data, None, batch_size=batch_size, seed=seed, device=device, ranks=ranks, transform=transform
    )


def _load(data: DataSettings, split: Split) -> Images:
    images = SOURCES[data.source].load(data, split)
    if len(images) == 0:
        raise ValueError(f"{data.name} has no {split} images in data.root={data.root}")
    published = data.train_images if split == "train" else data.validation_images
    if published is not None and len(images) != published:
        log.warning("%s has %d %s images in %s, not %d", data.name, len(images), split, data.root, published)
    classes, least = count_classes(data), NO_LABEL if images.labels.ndim > 1 else 0
    wrong = ((images.labels < least) | (images.labels >= classes)).view(len(images), -1).any(1).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise ValueError(
            f"{images.name(index)} has label {images.labels[index].tolist()}, but data.num_classes={classes} allows "
            f"0 to {classes - 1} ({len(wrong)} of {len(images)} {split} images of {data.name} are wrong)"
        )
    return images
