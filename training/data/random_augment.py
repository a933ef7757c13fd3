"""timm's RandAugment with Pillow 13, which refuses what timm asks of it now and then."""

from PIL import Image, ImageOps
from timm.data.auto_augment import RandAugment
from torchvision.transforms import Compose


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
