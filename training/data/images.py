"""What a source of data hands over: images with labels, all in memory or as files."""

from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class StoredImages:
    """A small data set as tensors: `pixels` uint8 of N, C, H, W with C 1 (grey) or 3, `labels` int64 of N."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        picture = Image.fromarray(self.pixels[index].expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
        return picture, int(self.labels[index])


@dataclass(frozen=True)
class ImageFiles:
    """Image files with `labels` int64 of N."""

    paths: list[str]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Raises OSError naming a file that cannot be decoded."""
        try:
            with Image.open(self.paths[index]) as picture:
                return picture.convert("RGB"), int(self.labels[index])
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise OSError(f"{self.paths[index]} cannot be read as an image: {error}") from error


def labels_tensor(labels: list[int]) -> Tensor:
    return torch.tensor(labels, dtype=torch.int64)
