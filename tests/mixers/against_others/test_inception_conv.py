"""inception_conv against timm's InceptionDWConv2d, in float64."""

import pytest
from timm.models.inception_next import InceptionDWConv2d

from mixers import build_mixer

from ..cases import randomise
from .equality import assert_equal_to, channels_first

THEIR_NAMES = {"square": "dwconv_hw", "row": "dwconv_w", "column": "dwconv_h"}


@pytest.mark.parametrize("resolution", [(1, 1), (3, 17), (14, 14), (28, 30)])
@pytest.mark.parametrize(("dim", "square", "band", "ratio"), [(8, 3, 11, 0.125), (50, 5, 9, 0.25)])
def test_equals_timm(dim: int, square: int, band: int, ratio: float, resolution: tuple[int, int]) -> None:
    options = {"square_kernel_size": square, "band_kernel_size": band, "branch_ratio": ratio}
    ours = randomise(build_mixer("inception_conv", dim, (14, 14), **options).double(), seed=0)
    theirs = InceptionDWConv2d(dim, square, band, ratio).double()
    for name, their_name in THEIR_NAMES.items():
        getattr(theirs, their_name).load_state_dict(getattr(ours, name).state_dict())
    assert_equal_to(ours, channels_first(theirs), dim=dim, resolution=resolution)
