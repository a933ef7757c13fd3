"""Checkpoints of the networks that timm provides: torchvision's ResNet, and DeiT (facebookresearch/deit).

Their names are timm's, so only DeiT's position embedding, at another image size, is anything but copied.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .conversion import FAMILIES, Family, Rule, unchanged


def resized_square_embedding(official: Tensor, shape: torch.Size) -> Tensor:
    """(1, 1 + h², C) for another h: bicubic, the class token's row as it is. Only for square images.

    Source: the authors' fine-tuning, `main.py` of facebookresearch/deit.
    """
    old, new = (math.isqrt(places - 1) for places in (official.shape[1], shape[1]))
    if official.shape == shape or old**2 + 1 != official.shape[1] or new**2 + 1 != shape[1]:
        return unchanged(official, shape)
    grid = official[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (new, new), mode="bicubic", align_corners=False)
    return unchanged(torch.cat((official[:, :1], grid.flatten(2).transpose(1, 2)), dim=1), shape)


SAME_NAME = Rule(r"(.+)", r"\1")

FAMILIES |= {
    "resnet": Family([SAME_NAME]),
    "deit_": Family([Rule("pos_embed", "pos_embed", resized_square_embedding), SAME_NAME]),
}
