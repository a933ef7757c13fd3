"""focal_modulation against timm's FocalModulation, in float64."""

from functools import partial

import pytest
from timm.layers import LayerNorm2d
from timm.models.focalnet import FocalModulation

from mixers import build_mixer

from ..cases import randomise
from .equality import assert_equal_to, channels_first

THEIR_NAMES = {"input_proj": "f", "modulator_proj": "h", "output_proj": "proj", "norm": "norm"}


@pytest.mark.parametrize("resolution", [(1, 1), (3, 17), (14, 14), (28, 30)])
@pytest.mark.parametrize(("dim", "level", "window", "post"), [(8, 2, 3, False), (24, 4, 5, True)])
def test_equals_timm(dim: int, level: int, window: int, post: bool, resolution: tuple[int, int]) -> None:
    options = {"focal_level": level, "focal_window": window, "normalize_modulator": post, "post_norm": post}
    ours = randomise(build_mixer("focal_modulation", dim, (14, 14), **options).double(), seed=0)
    # Their norm's own eps is 1e-6; the authors' code has PyTorch's 1e-5.
    theirs = FocalModulation(
        dim,
        focal_window=window,
        focal_level=level,
        use_post_norm=post,
        normalize_modulator=post,
        norm_layer=partial(LayerNorm2d, eps=1e-5),
    ).double()
    for name, their_name in THEIR_NAMES.items():
        state = getattr(ours, name).state_dict()
        if name.endswith("proj"):
            state["weight"] = state["weight"][..., None, None]
        getattr(theirs, their_name).load_state_dict(state)
    for convolution, focal_layer in zip(ours.contexts, theirs.focal_layers, strict=True):
        focal_layer[0].load_state_dict(convolution.state_dict())
    assert_equal_to(ours, channels_first(theirs), dim=dim, resolution=resolution, tolerance=1e-11)
