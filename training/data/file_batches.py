"""Batches of images that are transformed one by one, in worker processes, by timm's transforms."""

from collections.abc import Iterator
from typing import Any

import torch
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..seeds import IMAGE, SHUFFLE, generator, seed_global_generators
from ..settings import DataSettings, RecipeSettings
from .images import ImageFiles, StoredImages
from .random_augment import allow_posterizing_to_black

EpochAndIndex = tuple[int, int]


class TransformedImages(Dataset[tuple[Tensor, int]]):
    """Images after timm's transform, uint8 of 3, H, W.

    The transforms draw from global generators; these are set from the epoch and the image's index before each image,
    so neither the number of workers nor the images before it matter.
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

    def __getitem__(self, place: EpochAndIndex) -> tuple[Tensor, int]:
        epoch, index = place
        seed_global_generators(self.seed, IMAGE, epoch, index)
        image, label = self.images[index]
        return self.transform(image), label


class EpochSampler(Sampler[EpochAndIndex]):
    """Every image once an epoch. The epoch travels with the index, so that workers that live on need no message."""

    def __init__(self, count: int, seed: int, shuffle: bool) -> None:
        self.count = count
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[EpochAndIndex]:
        order = torch.arange(self.count)
        if self.shuffle:
            order = torch.randperm(self.count, generator=generator(self.seed, SHUFFLE, self.epoch))
        return ((self.epoch, index) for index in order.tolist())


class FileBatches:
    """Training batches (with a recipe: augmented, shuffled, incomplete last batch left out) or validation batches."""

    def __init__(
        self,
        images: StoredImages | ImageFiles,
        data: DataSettings,
        recipe: RecipeSettings | None,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.device = device
        self.sampler = EpochSampler(len(images), seed, shuffle=recipe is not None)
        self.loader = DataLoader(
            TransformedImages(images, data, recipe, seed),
            batch_size=batch_size,
            sampler=self.sampler,
            drop_last=recipe is not None,
            num_workers=data.workers,
            persistent_workers=data.workers > 0,
            pin_memory=device.type == "cuda",
        )

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixel values between 0 and 255 as B, 3, H, W uint8, and labels, both on the device."""
        self.sampler.epoch = epoch
        for pixels, labels in self.loader:
            yield pixels.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
