"""What happens to a batch on the device, between the reader and the network."""

import torch
from timm.data import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from .settings import DataSettings, RecipeSettings


class Normalize:
    """Pixel values between 0 and 255 (B, 3, H, W) to what the network expects, in channels-last memory."""

    def __init__(self, data: DataSettings, device: torch.device) -> None:
        self.mean = torch.tensor(data.mean, device=device) * 255
        self.scale = 1 / (torch.tensor(data.std, device=device) * 255)

    def __call__(self, pixels: Tensor) -> Tensor:
        batch, channels, height, width = pixels.shape
        values = torch.empty(
            pixels.shape, dtype=torch.float32, device=pixels.device, memory_format=torch.channels_last
        ).copy_(pixels)
        # A row of pixels at a time: three channels alone are too few for a CPU's vectors.
        rows = values.permute(0, 2, 3, 1).view(batch * height, width * channels)
        rows.sub_(self.mean.repeat(width)).mul_(self.scale.repeat(width))
        return values


class TrainingAugmentation:
    """Normalises, erases rectangles, mixes images and their labels.

    Draws from the global generators of Python, NumPy and torch, as timm's parts do.
    """

    def __init__(self, data: DataSettings, recipe: RecipeSettings, num_classes: int, device: torch.device) -> None:
        self.normalize = Normalize(data, device)
        self.erase = RandomErasing(recipe.random_erasing, mode="pixel", device=device)
        self.mix = None
        if recipe.mixup > 0 or recipe.cutmix > 0:
            self.mix = Mixup(
                mixup_alpha=recipe.mixup,
                cutmix_alpha=recipe.cutmix,
                prob=recipe.mix_probability,
                switch_prob=recipe.cutmix_share,
                label_smoothing=recipe.label_smoothing,
                num_classes=num_classes,
            )
        self.label_smoothing = 0.0 if self.mix else recipe.label_smoothing
        """What the loss has to add: mixed targets are smoothed already."""

    def __call__(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images, and labels (B) or, when mixing, class probabilities (B, classes)."""
        images = self.erase(self.normalize(pixels))
        return (images, labels) if self.mix is None else self.mix(images, labels)
