"""timm's transforms of single images, from pixels to pixels; the random resized crop also in a faster form."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import RandomResizedCropAndInterpolation

from ..settings import DataSettings, RecipeSettings
from .random_augment import allow_posterizing_to_black

Transform = Callable[[np.ndarray], np.ndarray]
"""uint8 of H, W, 3 to uint8 of resolution, resolution, 3, or 3 × views of the image."""

RESIZERS = ("torch", "pillow")


def validation_transform(data: DataSettings) -> Transform:
    """Resized and cropped at the centre, by Pillow, as published accuracies were measured."""
    *steps, _ = create_transform(_shape(data), crop_pct=data.crop_pct, **_common(data)).transforms
    return OfPicture(steps)


def training_transform(data: DataSettings, recipe: RecipeSettings) -> Transform:
    """timm's training transform, which draws from the global generators of Python, NumPy and torch."""
    timms = create_transform(
        _shape(data),
        is_training=True,
        scale=recipe.random_crop_scale,
        ratio=recipe.random_crop_ratio,
        hflip=data.horizontal_flip,
        color_jitter=recipe.color_jitter,
        auto_augment=recipe.random_augment,
        **_common(data),
    )
    allow_posterizing_to_black(timms)
    crop, *steps, _ = timms.transforms
    if data.resizer == "pillow":
        return OfPicture([crop, *steps])
    cropped, rest = TorchResizedCrop(crop, data.interpolation), OfPicture(steps)
    return lambda pixels: rest(cropped(pixels))


class OfPicture:
    """Steps of a transform that work on Pillow's images. timm's last one is not among them: it would turn pixels of
    H, W, 3 around, only for the network's memory format to turn them back.
    """

    def __init__(self, steps: Sequence[Callable[[Image.Image], Image.Image]]) -> None:
        self.steps = steps

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(pixels)
        for step in self.steps:
            picture = step(picture)
        return np.array(picture)


class TorchResizedCrop:
    """timm's random resized crop, with the same draws, resized by torch: several times as fast as Pillow.

    torch rounds its fixed-point weights otherwise than Pillow: of 255 values, 0.02 apart on average.
    """

    def __init__(self, crop: RandomResizedCropAndInterpolation, interpolation: str) -> None:
        self.crop = crop
        self.interpolation = interpolation

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 of H, W, 3, of any size, to uint8 of the crop's size."""
        # A batch of one with the strides of channels-last: the result is H, W, 3 in memory, as Pillow wants it.
        image = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
        top, left, height, width = self.crop.get_params(image, self.crop.scale, self.crop.ratio)
        resized = F.interpolate(
            image[:, :, top : top + height, left : left + width],
            self.crop.size,
            mode=self.interpolation,
            antialias=True,
            align_corners=False,
        )
        return resized[0].permute(1, 2, 0).numpy()


def _shape(data: DataSettings) -> tuple[int, int, int]:
    return 3, data.resolution, data.resolution


def _common(data: DataSettings) -> dict[str, Any]:
    return {"interpolation": data.interpolation, "mean": data.mean, "use_prefetcher": True}
