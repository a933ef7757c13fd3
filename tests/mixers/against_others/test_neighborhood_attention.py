"""Neighborhood attention where another mixer computes the same.

NATTEN's own code runs on the CPU without float64, bias and gradients only, so it cannot be held against ours.
"""

import pytest

from mixers import Mixer, build_mixer

from ..cases import DIM, randomise
from .equality import assert_equal_to


def neighborhood(**options: int | bool) -> Mixer:
    mixer = build_mixer("neighborhood_attention", DIM, (14, 14), num_heads=2, **options).double()
    return randomise(mixer, seed=0)


def with_the_same_weights(mixer: Mixer, other: Mixer) -> Mixer:
    """`other`, whose table is indexed by the query's place minus the key's."""
    state = mixer.state_dict()
    state["relative_position_bias_table"] = state.pop("rpb").flip(1, 2).flatten(1).T
    other.double().load_state_dict(state)
    return other


def test_a_window_as_large_as_the_map_is_a_window_of_swin() -> None:
    mixer = neighborhood(dilated=False)
    window = build_mixer("shifted_window", DIM, (14, 14), num_heads=2)
    assert_equal_to(mixer, with_the_same_weights(mixer, window), dim=DIM, resolution=(7, 7))


@pytest.mark.parametrize("dilation", [2, 8])
def test_dilated_windows_as_large_as_the_map_are_the_grid_of_maxvit(dilation: int) -> None:
    """As DiNAT's are in every stage of an image of 224 pixels."""
    mixer = neighborhood(dilation=dilation)
    grid = build_mixer("grid_attention", DIM, (14, 14), num_heads=2, partition="grid")
    size = (7 * dilation, 7 * dilation)
    assert_equal_to(mixer, with_the_same_weights(mixer, grid), dim=DIM, resolution=size, tolerance=1e-11)
