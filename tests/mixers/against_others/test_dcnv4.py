"""DCNv4's sampling is torchvision's modulated deformable convolution with a kernel of ones for each channel."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from mixers import Mixer

from ..cases import Case
from .equality import assert_equal_to


def with_torchvision(mixer: Mixer, x: Tensor) -> Tensor:
    side, groups = mixer.kernel_size, mixer.groups
    steering = mixer.offset_mask(x).unflatten(-1, (groups, 3 * side**2))
    moves = steering[..., : 2 * side**2].unflatten(-1, (side, side, 2))  # by column, then row: (x, y)
    weights = steering[..., 2 * side**2 :].unflatten(-1, (side, side))
    # torchvision numbers points row by row, as (y, x), and adds what it is given to places that it does not scale.
    places = torch.arange(side, dtype=x.dtype) - side // 2
    row, column = torch.meshgrid(places, places, indexing="ij")
    moves = moves.transpose(-3, -2).flip(-1) * mixer.offset_scale
    moves = moves + torch.stack((row, column), -1) * (mixer.offset_scale - 1)
    value = mixer.value_proj(x).permute(0, 3, 1, 2)
    ones = torch.ones(value.shape[1], 1, side, side, dtype=x.dtype)
    mixed = deform_conv2d(
        value,
        moves.flatten(3).permute(0, 3, 1, 2),
        ones,
        padding=side // 2,
        mask=weights.transpose(-2, -1).flatten(3).permute(0, 3, 1, 2),
    )
    return mixer.output_proj(mixed.permute(0, 2, 3, 1))


@pytest.mark.parametrize("resolution", [(1, 1), (3, 7), (14, 14), (9, 20)])
@pytest.mark.parametrize(
    "options", [{"groups": 2}, {"groups": 4, "kernel_size": 5, "offset_scale": 0.5}, {"groups": 1, "kernel_size": 1}]
)
def test_equals_torchvision(options: dict[str, int | float], resolution: tuple[int, int]) -> None:
    mixer = Case(options, mixer="dcnv4").build()
    assert_equal_to(mixer, partial(with_torchvision, mixer), dim=mixer.dim, resolution=resolution)
