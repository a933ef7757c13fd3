"""Which views of each image there are, in the authors' protocol and in a corrected one.

The authors' has quirks, all of which are kept under `protocol=authors`: a shift draws one of seven directions, never
down-left; a window that leaves the image is cut off and centred again, so that from there on half the shift is undone;
and a shift by 0 is not always the standard view. `protocol=corrected` draws from eight directions and shifts the
standard view's own window, with black where it leaves the image. Everything else is the same in both.
"""

import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from .views import (
    EIGHT_DIRECTIONS,
    SEVEN_DIRECTIONS,
    Picture,
    Preparation,
    View,
    fractional_shift,
    mirrored,
    recentred_shift,
    rotated_after_crop,
    rotated_before_crop,
    scaled,
    standard,
    true_shift,
)


@dataclass(frozen=True)
class StrongView:
    """A view with its place on its kind's axis: pixels, degrees, the share that is kept, or a flip's axis."""

    kind: str
    strength: float | str
    view: View

    @property
    def name(self) -> str:
        """Of a file, too."""
        said = self.strength if isinstance(self.strength, str) else f"{self.strength:g}"
        return f"{self.kind}_{said}"


STANDARD = StrongView("standard", 0, standard)


def check_shifts(shifts: Sequence[int], preparation: Preparation, protocol: str) -> None:
    """Refuses shifts after which nothing of an image is left to see.

    Raises: ValueError naming the key, its value and the greatest that can be.
    """
    size, side = preparation.size, preparation.shorter_side
    first = side // 2 - size // 2 if protocol == "authors" else round((side - size) / 2)
    outside = min(side - first, first + size)  # to the right, or to the left
    for pixels in shifts:
        if pixels >= outside:
            raise ValueError(
                f"task.shifts: {pixels} pixels leave nothing to see of images whose shorter side is {side} pixels "
                f"(data.resolution={size}): at most {outside - 1}"
            )


def views_of(kind: str, strengths: Sequence[float | str], protocol: str) -> list[StrongView]:
    """The views of one kind, one for each strength.

    Args:
        kind: one of `strengths.KINDS`.
        protocol: one of `strengths.PROTOCOLS`.
    """
    view = partial(BY_KIND[kind], protocol=protocol)
    return [StrongView(kind, strength, partial(view, strength=strength)) for strength in strengths]


def _translation(picture: Picture, draws: np.random.Generator, *, strength: int, protocol: str) -> Image.Image:
    if protocol == "authors":
        return recentred_shift(picture, SEVEN_DIRECTIONS[draws.integers(7)], strength)
    return true_shift(picture, EIGHT_DIRECTIONS[draws.integers(8)], strength)


def _subpixel(picture: Picture, draws: np.random.Generator, *, strength: float, protocol: str) -> Image.Image:
    return fractional_shift(picture, EIGHT_DIRECTIONS[draws.integers(8)], strength)


def _pre_rotation(picture: Picture, draws: np.random.Generator, *, strength: float, protocol: str) -> Image.Image:
    return rotated_before_crop(picture, strength)


def _post_rotation(picture: Picture, draws: np.random.Generator, *, strength: float, protocol: str) -> Image.Image:
    return rotated_after_crop(picture, strength)


def _scale(picture: Picture, draws: np.random.Generator, *, strength: float, protocol: str) -> Image.Image:
    return scaled(picture, strength)


def _flip(picture: Picture, draws: np.random.Generator, *, strength: str, protocol: str) -> Image.Image:
    return mirrored(picture, strength)


BY_KIND: Mapping[str, View] = {
    "translation": _translation,
    "pre_rotation": _pre_rotation,
    "post_rotation": _post_rotation,
    "scale": _scale,
    "flip": _flip,
    "subpixel": _subpixel,
}


class SideBySide:
    """A transform of pixels, uint8 of H, W, 3, to all `views` of them: uint8 of size, size, 3 × views.

    What a view draws depends on its name and on the state of Python's global generator, which is the image's own (see
    `training.data`), but not on which other views it is made with.
    """

    def __init__(self, views: Sequence[StrongView], preparation: Preparation) -> None:
        self.views = views
        self.preparation = preparation

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        picture, entropy = Picture(Image.fromarray(pixels), self.preparation), random.getrandbits(63)
        seen = [each.view(picture, np.random.default_rng((entropy, _key(each.name)))) for each in self.views]
        return np.concatenate([np.asarray(image) for image in seen], axis=2)


def _key(name: str) -> int:
    return zlib.crc32(name.encode())
