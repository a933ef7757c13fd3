"""outlook_attention against timm's OutlookAttention."""

import pytest
from timm.models.volo import OutlookAttention

from mixers import build_mixer

from ..cases import randomise
from .equality import assert_equal_to


@pytest.mark.parametrize("resolution", [(1, 1), (3, 17), (14, 14), (28, 9)])
@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 2), (3, 1), (5, 3)])
def test_equals_timm(kernel_size: int, stride: int, resolution: tuple[int, int]) -> None:
    options = {"num_heads": 3, "kernel_size": kernel_size, "stride": stride}
    ours = randomise(build_mixer("outlook_attention", 48, (14, 14), **options).double(), seed=0)
    theirs = OutlookAttention(48, padding=kernel_size // 2, **options).double()
    theirs.load_state_dict(ours.state_dict())
    assert_equal_to(ours, theirs, dim=48, resolution=resolution)
