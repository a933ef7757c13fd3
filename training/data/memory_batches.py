"""Batches of a data set that fits in memory: all of it lies on the device, a whole batch is transformed at once."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distributed import ALONE, Ranks
from ..seeds import CROP, SHUFFLE, generator
from ..settings import DataSettings, RecipeSettings
from .findings import Findings
from .images import StoredImages


class MemoryTrainingBatches:
    """Shuffled random resized crops with flips; an incomplete last batch is left out.

    Every crop is drawn from the seed, the epoch and the image's place in it. Crops are cut at fractions of pixels,
    and a rectangle wider or higher than the image is cut down to it where timm would draw again.
    """

    def __init__(
        self,
        images: StoredImages,
        data: DataSettings,
        recipe: RecipeSettings,
        *,
        seed: int,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self.findings = Findings(len(images), data.max_corrupt_share)
        self.classes = images.classes
        self.images, self.root = images, data.root
        self.pixels, self.labels = images.pixels.to(device), images.labels.to(device)
        self.data = data
        self.recipe = recipe
        self.seed = seed
        self.device = device
        self.ranks = ranks

    def __len__(self) -> int:
        return len(self.labels) // self.recipe.batch_size

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixel values between 0 and 255 as B, 3, H, W float32, and labels."""
        count = len(self) * self.recipe.batch_size
        order = torch.randperm(len(self.labels), generator=generator(self.seed, SHUFFLE, epoch))
        order = order.repeat_interleave(self.recipe.augmentation_repeats)[:count].to(self.device)
        crops = self._draw_crops(count, generator(self.seed, CROP, epoch)).to(self.device)
        for start in range(first_batch * self.recipe.batch_size, count, self.recipe.batch_size):
            mine = slice(start + self.ranks.rank, start + self.recipe.batch_size, self.ranks.count)
            chosen, crop = order[mine], crops[mine]
            size = [len(chosen), self.pixels.shape[1], self.data.resolution, self.data.resolution]
            grid = F.affine_grid(crop, size, align_corners=False)
            pixels = self.pixels[chosen].float()
            cropped = F.grid_sample(
                pixels, grid, mode=self.data.interpolation, padding_mode="border", align_corners=False
            )
            yield cropped.clamp_(0, 255).expand(-1, 3, -1, -1), self.labels[chosen]

    def _draw_crops(self, count: int, draws: torch.Generator) -> Tensor:
        """Affine maps (count, 2, 3) from the crop's coordinates to the image's, both between -1 and 1."""

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=draws)

        area = uniform(*self.recipe.random_crop_scale)
        ratio = uniform(*(math.log(bound) for bound in self.recipe.random_crop_ratio)).exp()
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        center_x, center_y = uniform(-1, 1) * (1 - width), uniform(-1, 1) * (1 - height)
        mirror = torch.where(uniform(0, 1) < self.data.horizontal_flip, -1.0, 1.0)
        none = torch.zeros(count)
        return torch.stack(
            [torch.stack([width * mirror, none, center_x], 1), torch.stack([none, height, center_y], 1)], 1
        )


class MemoryValidationBatches:
    """All images in order, resized and cropped at the centre; the last batch may be smaller."""

    def __init__(
        self,
        images: StoredImages,
        data: DataSettings,
        *,
        batch_size: int,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self.findings = Findings(len(images), data.max_corrupt_share)
        self.classes = images.classes
        self.images, self.root = images, data.root
        mine = slice(ranks.rank, None, ranks.count)
        self.pixels, self.labels = images.pixels[mine].to(device), images.labels[mine].to(device)
        self.data = data
        self.batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixel values between 0 and 255 as B, 3, H, W float32, and labels."""
        resized = math.floor(self.data.resolution / self.data.crop_pct)
        shrinks = resized < self.pixels.shape[-1]  # enlarging, antialiasing would only be another cubic kernel
        edge = round((resized - self.data.resolution) / 2)
        inside = slice(edge, edge + self.data.resolution)
        start = first_batch * self.batch_size
        pixels_left, labels_left = self.pixels[start:], self.labels[start:]
        batches = zip(pixels_left.split(self.batch_size), labels_left.split(self.batch_size), strict=True)
        for pixels, labels in batches:
            whole = F.interpolate(
                pixels.float(),
                (resized, resized),
                mode=self.data.interpolation,
                antialias=shrinks,
                align_corners=False,
            )
            cropped = whole[:, :, inside, inside].clamp_(0, 255)
            yield cropped.expand(-1, 3, -1, -1), labels
