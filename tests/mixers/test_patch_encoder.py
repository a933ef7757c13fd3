"""The patch encoder is what mixes space in ConTNet, which equals its authors' code, and in unshifted windows."""

import pytest
import torch

from architectures.contnet import WindowEncoder
from mixers import MIXERS

from .cases import DIM, Case, random_map


@pytest.mark.parametrize("resolution", [(14, 14), (9, 20), (1, 3)])
@pytest.mark.parametrize("patch_size", [7, 14])
def test_attends_as_the_encoder_of_contnet(patch_size: int, resolution: tuple[int, int]) -> None:
    options = {"num_heads": 2, "patch_size": patch_size}
    mixer = Case(options, mixer="patch_encoder").build()
    encoder = WindowEncoder(
        DIM, DIM, 2, patch_size, qkv_bias=True, pre_norm=False, relative_position_bias=False, dropout=0, drop_path=0
    ).double()
    encoder.attn.qkv.load_state_dict(mixer.qkv.state_dict())
    encoder.attn.proj.load_state_dict(mixer.proj.state_dict())
    with torch.no_grad():
        encoder.row_position.copy_(mixer.row_position[:, None])
        encoder.column_position.copy_(mixer.column_position)
    x = random_map(*resolution, batch=2).requires_grad_()
    output, wanted = mixer(x), encoder.attn(x + encoder._position(*resolution))
    torch.testing.assert_close(output, wanted, rtol=1e-12, atol=1e-12)
    gradient, wanted_gradient = (torch.autograd.grad(y.square().sum(), x)[0] for y in (output, wanted))
    torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-10, atol=1e-10)


def test_without_positions_and_convolution_it_is_a_window_without_bias() -> None:
    mixer = Case({"num_heads": 2, "patch_size": 7}, mixer="patch_encoder").build()
    window = Case({"num_heads": 2}, mixer="shifted_window").build()
    own = mixer.state_dict()
    for key in ("row_position", "column_position"):
        torch.nn.init.zeros_(own.pop(key))
    window.load_state_dict(own | {"relative_position_bias_table": torch.zeros(13**2, 2)})
    x = random_map(9, 16)
    torch.testing.assert_close(mixer(x), window(x), rtol=1e-12, atol=1e-12)


def test_two_blocks_are_one_of_contnet() -> None:
    """Small patches, then large ones and the convolution; in the last stage all patches are small."""
    places = [MIXERS["patch_encoder"].defaults(128, stage, block, {}) for stage in (0, 3) for block in range(3)]
    assert [place["patch_size"] for place in places] == [7, 14, 7, 7, 7, 7]
    assert [place["conv_kernel_size"] for place in places] == [None, 3, None, None, 3, None]
    assert {place["num_heads"] for place in places} == {2}


def test_positions_are_resized_for_another_patch() -> None:
    mixer = Case({"num_heads": 2, "patch_size": 7, "conv_kernel_size": 3}, mixer="patch_encoder").build()
    saved = torch.arange(14, dtype=torch.float64)[:, None].expand(-1, 4)
    for key in ("row_position", "column_position"):
        resized = mixer.resize(key, saved, mixer.state_dict()[key].shape)
        torch.testing.assert_close(resized[:, 0], torch.linspace(0, 13, 7, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"proj\.bias has shape"):
        mixer.resize("proj.bias", saved, torch.Size([4]))
