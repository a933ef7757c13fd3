"""Grid attention equals timm's MaxViT, in float64, where that takes the size."""

from functools import partial

import pytest
from timm.models import maxxvit

from mixers import build_mixer

from ..cases import randomise
from .equality import assert_equal_to

DIM, GRID = 64, (7, 7)
PARTITIONS = {
    "grid": (maxxvit.grid_partition, maxxvit.grid_reverse),
    "window": (maxxvit.window_partition, maxxvit.window_reverse),
}


@pytest.mark.parametrize("resolution", [(7, 7), (14, 7), (14, 28), (56, 56)])
@pytest.mark.parametrize("partition", PARTITIONS)
def test_equals_timm(partition: str, resolution: tuple[int, int]) -> None:
    mixer = randomise(
        build_mixer("grid_attention", DIM, (14, 14), num_heads=2, partition=partition).double(), seed=0, scale=0.2
    )
    bias = partial(maxxvit.RelPosBias, window_size=GRID)
    attention = maxxvit.AttentionCl(DIM, dim_head=DIM // 2, head_first=False, rel_pos_cls=bias).double()
    renamed = {key.replace("relative_", "rel_pos.relative_"): entry for key, entry in mixer.state_dict().items()}
    attention.load_state_dict(renamed)
    apart, together = PARTITIONS[partition]
    assert_equal_to(
        mixer, lambda x: together(attention(apart(x, GRID)), GRID, resolution), dim=DIM, resolution=resolution
    )
