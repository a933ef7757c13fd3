"""By how much images are changed where nobody says otherwise: the authors' steps, and ours for what they left out."""

KINDS = ("translation", "pre_rotation", "post_rotation", "scale", "flip", "subpixel")
PROTOCOLS = ("authors", "corrected")

AUTHORS_SIZE = 224
AUTHORS_SHIFTS = tuple(range(0, 65, 4))
"""In pixels of an image of `AUTHORS_SIZE`."""
AUTHORS_ANGLES = tuple(range(0, 91, 5))
"""Degrees, counter-clockwise."""
AUTHORS_RATIOS = tuple(0.2 + 0.125 * step for step in range(15))
"""Shares of the resized shorter side that the view keeps."""
FRACTIONS = (0.25, 0.5, 0.75, 1.0)
"""Of a pixel."""
AXES = ("horizontal", "vertical")


def shifts_at(size: int) -> list[int]:
    """The authors' shifts for images of `size`×`size`: the same shares of the image, in whole pixels."""
    return sorted({round(pixels * size / AUTHORS_SIZE) for pixels in AUTHORS_SHIFTS})
