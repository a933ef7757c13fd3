"""linear_attention: `relu` against timm's LiteMLA, in float64, and what follows from the papers for the others."""

import pytest
import torch
from timm.models.efficientvit_mit import LiteMLA

from mixers import build_mixer
from mixers.interpolation import interpolated
from mixers.linear_attention import attend, focused, rotated

from ..cases import random_map, randomise
from .equality import assert_equal_to, channels_first

THEIR_NAMES = {
    "qkv.weight": "qkv.conv.weight",
    "dwconv.weight": "aggreg.0.0.weight",
    "grouped.weight": "aggreg.0.1.weight",
    "proj.linear.weight": "proj.conv.weight",
}


@pytest.mark.parametrize("resolution", [(1, 1), (3, 17), (14, 14), (28, 30)])
@pytest.mark.parametrize(("dim", "heads"), [(16, 2), (64, 4)])
def test_relu_equals_timm(dim: int, heads: int, resolution: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = build_mixer("linear_attention", dim, (14, 14), num_heads=heads, feature_map="relu").double().eval()
    randomise(ours, seed=0, scale=0.1)
    theirs = LiteMLA(dim, dim, heads=heads, dim=dim // heads, eps=1e-15).double().eval()
    state = {}
    for key, entry in ours.attention.state_dict().items():
        their_key = THEIR_NAMES.get(key, key.replace("proj.bn", "proj.norm"))
        state[their_key] = entry[..., None, None] if entry.ndim == 2 else entry
    theirs.load_state_dict(state)
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # they attend in float32
    assert_equal_to(ours, channels_first(theirs), dim=dim, resolution=resolution, tolerance=1e-10)


@pytest.mark.parametrize("feature_map", ["focused", "relu", "elu"])
def test_sums_do_not_overflow_in_half_precision(feature_map: str) -> None:
    """Maps whose sums of products are far above the largest float16, 65504."""
    mixer = build_mixer("linear_attention", 16, (14, 14), num_heads=2, feature_map=feature_map, table_size=14).eval()
    randomise(mixer, seed=0)
    x = 15 * random_map(14, 14, dim=16).float()
    exact = mixer(x)
    with torch.autocast("cpu", torch.float16):
        output = mixer(x)
    assert (output - exact).abs().max() <= 1e-2 * exact.abs().max()


def test_weights_of_a_linear_attention_add_up_to_one() -> None:
    q, k = torch.rand(2, 7, 3, dtype=torch.float64), torch.rand(2, 7, 3, dtype=torch.float64)
    alike = torch.full((2, 7, 5), 3.0, dtype=torch.float64)
    torch.testing.assert_close(attend(q, k, alike, eps=0), alike)


def test_focused_features_keep_their_length_and_sharpen() -> None:
    """Section 4.1 of FLatten: the norm stays, the largest entry's share of it grows, nothing turns negative."""
    x = random_map(4, 5).abs()
    features = focused(x, torch.ones(1, 1, x.shape[-1], dtype=torch.float64))
    torch.testing.assert_close(features.norm(dim=-1), (x + 1e-6).norm(dim=-1))
    assert (features >= 0).all()
    assert (features.amax(-1) > x.amax(-1)).all()


def test_turned_products_depend_on_the_distance_only() -> None:
    """MLLA's rotation: the product of a query and a key is the same wherever the two lie that far apart."""
    q, k = random_map(1, 1, seed=1).expand(1, 6, 7, -1), random_map(1, 1, seed=2).expand(1, 6, 7, -1)
    q, k = rotated(q), rotated(k)
    first = (q[0, 1, 2] * k[0, 3, 1]).sum()
    torch.testing.assert_close((q[0, 3, 6] * k[0, 5, 5]).sum(), first)
    assert abs((q[0, 3, 6] * k[0, 5, 6]).sum() - first) > 1e-3
    torch.testing.assert_close(q[0, 0, 0], random_map(1, 1, seed=1)[0, 0, 0])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 9), (14, 5), (7, 7)])
def test_tables_are_interpolated_as_by_torch(rows: int, columns: int) -> None:
    table = random_map(7, 7)[0]
    wanted = torch.nn.functional.interpolate(table.permute(2, 0, 1)[None], (rows, columns), mode="bilinear")
    torch.testing.assert_close(interpolated(table, rows, columns), wanted[0].permute(1, 2, 0))
    assert interpolated(table, 7, 7) is table


def test_tables_of_another_size_are_loaded() -> None:
    mixer = build_mixer("linear_attention", 8, (14, 14), num_heads=2, table_size=7)
    table = torch.randn(14, 14, 8)
    resized = mixer.resize("attention.position_table", table, torch.Size((7, 7, 8)))
    torch.testing.assert_close(resized, interpolated(table, 7, 7))
    with pytest.raises(ValueError, match=r"attention\.proj\.weight has shape"):
        mixer.resize("attention.proj.weight", torch.zeros(4, 4), torch.Size((8, 8)))


def test_rotated_channels_come_in_fours() -> None:
    with pytest.raises(ValueError, match="feature_map='elu': rotates channels in fours, so dim=6 must be"):
        build_mixer("linear_attention", 6, (14, 14), num_heads=1, feature_map="elu")
