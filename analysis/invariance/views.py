"""Views of one image: the standard one, as in validation, and shifted, turned, resized and mirrored ones.

All work on Pillow's images, from the whole image to the pixels that the network sees, so that nothing is cut off,
filled or interpolated more often than a view needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torchvision.transforms.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode


@dataclass(frozen=True)
class Preparation:
    """How images are brought to the size of the network, which is `size`×`size` pixels.

    Attributes:
        kept: the share of the resized shorter side that the standard view keeps.
        interpolation: `bilinear` or `bicubic`.
    """

    size: int
    kept: float
    interpolation: str

    def resized(self, whole: Image.Image, kept: float) -> Image.Image:
        """`whole`, its shorter side so long that a square of `size` is the share `kept` of it."""
        return F.resize(whole, int(self.size / kept), InterpolationMode(self.interpolation))

    @property
    def shorter_side(self) -> int:
        """Of the resized image, in pixels."""
        return int(self.size / self.kept)


class Picture:
    """An image on its way to the network, with what several views of it share."""

    def __init__(self, whole: Image.Image, preparation: Preparation) -> None:
        self.whole = whole
        self.preparation = preparation
        self.size = preparation.size

    @cached_property
    def resized(self) -> Image.Image:
        return self.preparation.resized(self.whole, self.preparation.kept)

    @cached_property
    def standard(self) -> Image.Image:
        return F.center_crop(self.resized, self.size)

    @property
    def corner(self) -> tuple[int, int]:
        """The first column and row of the resized image that are in the standard view; halves go to the even pixel."""
        width, height = self.resized.size
        return round((width - self.size) / 2), round((height - self.size) / 2)


View = Callable[[Picture, np.random.Generator], Image.Image]
"""The whole image -> what the network sees; draws from its own generator."""
Direction = tuple[int, int]
"""Columns to the right and rows down, each -1, 0 or 1."""

DOWN, RIGHT, UP, LEFT = (0, 1), (1, 0), (0, -1), (-1, 0)
DOWN_RIGHT, UP_RIGHT, UP_LEFT, DOWN_LEFT = (1, 1), (1, -1), (-1, -1), (-1, 1)
SEVEN_DIRECTIONS = (DOWN, RIGHT, UP, LEFT, DOWN_RIGHT, UP_RIGHT, UP_LEFT)
EIGHT_DIRECTIONS = (*SEVEN_DIRECTIONS, DOWN_LEFT)


def standard(picture: Picture, draws: np.random.Generator) -> Image.Image:
    """As in validation."""
    return picture.standard


def recentred_shift(picture: Picture, direction: Direction, pixels: int) -> Image.Image:
    """A window that is moved over the resized image, cut off at its border and centred on black.

    So the content moves by less than `pixels` as soon as the window leaves the image. The window is laid around the
    pixel in the middle, which for odd sides can be another one than the standard view's.
    """
    image, size = picture.resized, picture.size
    left = image.width // 2 + direction[0] * pixels - size // 2
    top = image.height // 2 + direction[1] * pixels - size // 2
    inside = (max(left, 0), max(top, 0), min(left + size, image.width), min(top + size, image.height))
    return F.center_crop(image.crop(inside), size)


def true_shift(picture: Picture, direction: Direction, pixels: int) -> Image.Image:
    """The window of the standard view, moved; black where it leaves the resized image."""
    left, top = (corner + step * pixels for corner, step in zip(picture.corner, direction, strict=True))
    return picture.resized.crop((left, top, left + picture.size, top + picture.size))


def fractional_shift(picture: Picture, direction: Direction, pixels: float) -> Image.Image:
    """The window of the standard view, moved by a fraction of a pixel; black where it leaves the image.

    Resized straight from the whole image, so that nothing is interpolated twice, which would blur.
    """
    whole, size = picture.whole, picture.size
    # Pixels of the whole image to one of the resized.
    across, down = whole.width / picture.resized.width, whole.height / picture.resized.height
    left = (picture.corner[0] + direction[0] * pixels) * across
    top = (picture.corner[1] + direction[1] * pixels) * down
    right, bottom = left + size * across, top + size * down
    room = max(0.0, -left, -top, right - whole.width, bottom - whole.height)
    if room > 0:
        border = int(np.ceil(room))
        whole = F.pad(whole, [border] * 4)
        left, top, right, bottom = (place + border for place in (left, top, right, bottom))
    box = (left, top, min(right, whole.width), min(bottom, whole.height))  # sums of fractions round up
    return whole.resize((size, size), _filter(picture), box)


def rotated_before_crop(picture: Picture, degrees: float) -> Image.Image:
    """The resized image turned counter-clockwise about its centre, on its own canvas, then cropped."""
    return F.center_crop(_rotated(picture.resized, degrees), picture.size)


def rotated_after_crop(picture: Picture, degrees: float) -> Image.Image:
    """The standard view turned counter-clockwise about its centre, with black corners."""
    return _rotated(picture.standard, degrees)


def scaled(picture: Picture, kept: float) -> Image.Image:
    """As the standard view, but with another share of the shorter side; above 1 the image is smaller than the view, and
    there is black around it."""
    return F.center_crop(picture.preparation.resized(picture.whole, kept), picture.size)


def mirrored(picture: Picture, axis: str) -> Image.Image:
    """The standard view, left and right exchanged (`horizontal`) or top and bottom (`vertical`)."""
    return F.hflip(picture.standard) if axis == "horizontal" else F.vflip(picture.standard)


def _rotated(image: Image.Image, degrees: float) -> Image.Image:
    # Whatever the resizing is, as in the authors' code.
    return image.rotate(degrees, Image.Resampling.BICUBIC)


def _filter(picture: Picture) -> Image.Resampling:
    return Image.Resampling[picture.preparation.interpolation.upper()]
