"""From the bytes of an image file to pixels, by the decoder of one's choice.

All decoders give the same pixels. JPEGs that a fast one does not understand (damaged ones, CMYK) and all other formats
go to Pillow, which so decides in every case what is readable. Images are always decoded at full size: JPEG's scaled
decoding is another low-pass filter than the recipes' interpolation, and a crop has to be twice the network's size
before it applies at all.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

Pixels = np.ndarray
"""uint8 of H, W, 3: red, green, blue."""

JPEG_START = b"\xff\xd8"
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


class UndecodableError(ValueError):
    """The bytes are no image, or a damaged one; says why."""


class Decoded(NamedTuple):
    pixels: Pixels
    remark: str
    """What had to be done to an unusual image to make it one of 8 bits of red, green and blue; empty for the usual."""


def decode(content: bytes, decoder: str) -> Decoded:
    """The image in `content`, by `decoder`, a key of `DECODERS`.

    Raises: UndecodableError.
    """
    if not content:
        raise UndecodableError("the file is empty")
    fast = DECODERS[decoder]
    if fast is not None and content.startswith(JPEG_START):
        pixels = fast(content)
        if pixels is not None:
            return Decoded(pixels, "")
    try:
        return _decode_with_pillow(content)
    except UnidentifiedImageError as error:
        raise UndecodableError("the file is in no format that Pillow knows") from error
    except Exception as error:  # over damaged bytes, Pillow's readers stumble in any way
        raise UndecodableError(str(error)) from error


def _decode_with_simplejpeg(content: bytes) -> Pixels | None:
    try:
        if simplejpeg.decode_jpeg_header(content)[2] in ("YCbCr", "RGB", "Gray"):
            return simplejpeg.decode_jpeg(content)
    except ValueError:
        pass  # also what a reader can do without, like a missing end: Pillow knows
    return None


DECODERS: dict[str, Callable[[bytes], Pixels | None] | None] = {
    "simplejpeg": _decode_with_simplejpeg,
    "pillow": None,
}
"""Fast decoders of JPEG, which answer None where Pillow is to decide. (torchvision is about to give up its own.)"""


def _decode_with_pillow(content: bytes) -> Decoded:
    with Image.open(io.BytesIO(content)) as picture:
        remarks = []
        if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:  # MPO: a camera's preview comes second
            remarks.append(f"the first of {picture.n_frames} frames")
        if picture.mode in SIXTEEN_BITS:
            remarks.append("16 bits scaled to 8")
            grey = (np.asarray(picture).astype(np.uint32) + 128) // 257
            return Decoded(np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2), ", ".join(remarks))
        if picture.mode == "CMYK":
            remarks.append("CMYK to RGB")
        return Decoded(np.array(picture.convert("RGB")), ", ".join(remarks))
