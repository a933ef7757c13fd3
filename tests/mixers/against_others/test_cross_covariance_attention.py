"""cross_covariance_attention against timm's XCA and LPI, in float64."""

import pytest
from timm.models.xcit import LPI, XCA
from torch import Tensor

from mixers import build_mixer

from ..cases import randomise
from .equality import assert_equal_to


@pytest.mark.parametrize("resolution", [(1, 1), (3, 17), (14, 14), (28, 30)])
@pytest.mark.parametrize(("dim", "heads", "local"), [(8, 2, False), (64, 4, True)])
def test_equals_timm(dim: int, heads: int, local: bool, resolution: tuple[int, int]) -> None:
    options = {"num_heads": heads, "qkv_bias": local, "local": local}
    ours = build_mixer("cross_covariance_attention", dim, (14, 14), **options).double().eval()
    randomise(ours, seed=0)
    attention, interaction = XCA(dim, heads, qkv_bias=local).double(), LPI(dim).double().eval()
    state = ours.state_dict()
    attention.load_state_dict({key: entry for key, entry in state.items() if not key.startswith("local")})
    if local:
        interaction.load_state_dict(ours.local.state_dict())

    def theirs(x: Tensor) -> Tensor:
        tokens = attention(x.flatten(1, 2))
        tokens = interaction(tokens, *resolution) if local else tokens
        return tokens.reshape(x.shape)

    assert_equal_to(ours, theirs, dim=dim, resolution=resolution, tolerance=1e-11)
