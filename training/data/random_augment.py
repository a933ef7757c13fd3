"""timm's RandAugment: its notation, read strictly, and Pillow 13, which refuses what timm asks of it now and then."""

import re

from PIL import Image, ImageOps
from timm.data.auto_augment import RandAugment, rand_augment_transform
from torchvision.transforms import Compose

# timm leaves out, in silence, any section without a digit, and takes any unknown set of operations for the usual one.
SECTIONS = {
    "m": r"\d+",
    "n": r"\d+",
    "p": r"\d+(\.\d+)?",
    "mstd": r"\d+(\.\d+)?",
    "mmax": r"[1-9]\d*",
    "inc": r"[01]",
    "t": r"weights|3aw|3a",
}
MEANINGS = (
    "after rand, each at most once: mN strength, nN operations an image (at least 1), pX share that is applied "
    "(above 0, at most 1), mstdX spread of the strength, mmaxN its bound (10), inc0 or inc1, tweights, t3a or t3aw"
)


def check_notation(notation: str) -> None:
    """Raises: ValueError naming the first section of `notation` that timm would leave out or cannot act on."""
    first, *sections = notation.split("-")
    if first != "rand":
        raise ValueError(f"{first!r} is not rand; {MEANINGS}")
    given: dict[str, str] = {}
    for section in sections:
        key = next((key for key, value in SECTIONS.items() if re.fullmatch(f"{key}({value})", section)), None)
        if key is None or key in given:
            raise ValueError(f"{section!r} is {'given before' if key else 'unknown'}; {MEANINGS}")
        given[key] = section.removeprefix(key)
    transform = rand_augment_transform(notation)
    bound = int(given.get("mmax", 10))
    for key, holds, rule in (
        ("m", int(given.get("m", bound)) <= bound, f"exceeds its bound {bound}"),
        ("p", 0 < float(given.get("p", 1)) <= 1, "is no share above 0"),
        ("n", transform.num_layers >= 1, "applies nothing"),
        # Operations with weights are drawn without repetition.
        (
            "n",
            transform.choice_weights is None or transform.num_layers <= len(transform.ops),
            "are more than there are",
        ),
    ):
        if not holds:
            raise ValueError(f"{key}{given[key]} {rule}; {MEANINGS}")


def allow_posterizing_to_black(transform: Compose) -> None:
    """At its strongest, timm posterises to zero bits: a black image until Pillow 13, an error since.

    At strength 9 ± 0.5, the unified recipe's, this is one image in some 700.
    """
    for step in transform.transforms:
        if isinstance(step, RandAugment):
            for operation in step.ops:
                if operation.name.startswith("Posterize"):
                    operation.aug_fn = posterize


def posterize(image: Image.Image, bits_to_keep: int, **drawing: object) -> Image.Image:
    """Keeps the `bits_to_keep` highest bits of each value; `drawing` is what timm hands to every operation alike."""
    if bits_to_keep <= 0:
        return Image.new(image.mode, image.size)
    return image if bits_to_keep >= 8 else ImageOps.posterize(image, bits_to_keep)
