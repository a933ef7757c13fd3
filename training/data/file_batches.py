"""Batches of images that are transformed one by one, in worker processes, by timm's transforms.

What a batch holds is a function of the epoch and of its place in it, so an epoch can be entered anywhere. Each rank
takes every n-th image of a batch; together they have what one process would.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..distributed import ALONE, Ranks
from ..seeds import IMAGE, SHUFFLE, generator, seed_global_generators
from ..settings import DataSettings, RecipeSettings
from .images import ImageFiles, StoredImages
from .random_augment import allow_posterizing_to_black

Draw = tuple[int, int, int]
"""Epoch, index of the image, and how often the image came before in this epoch."""


class TransformedImages(Dataset[tuple[Tensor, int]]):
    """Images after timm's transform, uint8 of 3, H, W.

    The transforms draw from global generators; these are set from the epoch, the image's index and its repetition
    before each image, so neither the number of workers nor the images before it matter.
    """

    def __init__(
        self, images: StoredImages | ImageFiles, data: DataSettings, recipe: RecipeSettings | None, seed: int
    ) -> None:
        self.images = images
        self.seed = seed
        shape = (3, data.resolution, data.resolution)
        common: dict[str, Any] = {"interpolation": data.interpolation, "mean": data.mean, "use_prefetcher": True}
        if recipe is None:
            self.transform = create_transform(shape, crop_pct=data.crop_pct, **common)
        else:
            self.transform = create_transform(
                shape,
                is_training=True,
                scale=recipe.random_crop_scale,
                ratio=recipe.random_crop_ratio,
                hflip=data.horizontal_flip,
                color_jitter=recipe.color_jitter,
                auto_augment=recipe.random_augment,
                **common,
            )
            allow_posterizing_to_black(self.transform)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int]:
        epoch, index, repetition = draw
        seed_global_generators(self.seed, IMAGE, epoch, index, repetition)
        image, label = self.images[index]
        return self.transform(image), label


class EpochSampler(Sampler[Draw]):
    """This rank's images of one epoch, from a batch on. Epochs travel with the index: workers need no message.

    For training, all images in a new order each epoch, each `repeats` times in a row until the epoch is as long as
    without repeats (repeated augmentation, arXiv 1901.09335); an incomplete last batch is left out. For validation,
    every image once, in order.
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, *, training: bool, repeats: int = 1, ranks: Ranks = ALONE
    ) -> None:
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.training = training
        self.repeats = repeats
        self.ranks = ranks
        self.epoch = 0
        self.first_batch = 0

    def __len__(self) -> int:
        """Images of this rank in a whole epoch."""
        if self.training:
            return self.count // self.batch_size * (self.batch_size // self.ranks.count)
        return len(range(self.ranks.rank, self.count, self.ranks.count))

    def __iter__(self) -> Iterator[Draw]:
        if not self.training:
            mine = range(self.ranks.rank, self.count, self.ranks.count)[self.first_batch * self.batch_size :]
            return ((self.epoch, index, 0) for index in mine)
        order = torch.randperm(self.count, generator=generator(self.seed, SHUFFLE, self.epoch))
        batches = torch.arange(self.count // self.batch_size * self.batch_size).view(-1, self.batch_size)
        places = batches[self.first_batch :, self.ranks.rank :: self.ranks.count].flatten()
        indices, repetitions = order[places // self.repeats], places % self.repeats
        return zip(itertools.repeat(self.epoch), indices.tolist(), repetitions.tolist())


class FileBatches:
    """Training batches (with a recipe: augmented, shuffled) or validation batches."""

    def __init__(
        self,
        images: StoredImages | ImageFiles,
        data: DataSettings,
        recipe: RecipeSettings | None,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self.device = device
        training = recipe is not None
        self.sampler = EpochSampler(
            len(images),
            batch_size,
            seed,
            training=training,
            repeats=recipe.augmentation_repeats if recipe else 1,
            ranks=ranks,
        )
        self.loader = DataLoader(
            TransformedImages(images, data, recipe, seed),
            batch_size=batch_size // ranks.count if training else batch_size,
            sampler=self.sampler,
            num_workers=data.workers,
            persistent_workers=data.workers > 0,
            pin_memory=device.type == "cuda",
        )

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixel values between 0 and 255 as B, 3, H, W uint8, and labels, both on the device."""
        self.sampler.epoch, self.sampler.first_batch = epoch, first_batch
        for pixels, labels in self.loader:
            yield pixels.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
