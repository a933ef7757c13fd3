"""large_kernel_conv's branches against timm's ReparamLargeKernelConv, and its merged form, in float64."""

import pytest
import torch
from timm.models.fastvit import ReparamLargeKernelConv

from architectures.inference import inference_form
from mixers import build_mixer

from ..cases import random_map, randomise
from .equality import assert_equal_to, channels_first


@pytest.mark.parametrize("resolution", [(1, 1), (3, 17), (14, 14), (28, 30)])
@pytest.mark.parametrize("merged", [False, True])
def test_equals_timm(merged: bool, resolution: tuple[int, int]) -> None:
    mixer = build_mixer("large_kernel_conv", 8, (14, 14), kernel_size=13, projection=False).double().eval()
    randomise(mixer, seed=0)
    theirs = ReparamLargeKernelConv(8, 8, 13, stride=1, group_size=1, small_kernel=5).double().eval()
    for branch, theirs_too in zip(mixer.kernels.branches, (theirs.large_conv, theirs.small_conv), strict=True):
        theirs_too.load_state_dict(branch.state_dict())
    ours = mixer
    if merged:
        theirs.reparameterize()
        ours = mixer.kernels.fuse()
        (convolution,) = ours.branches
        torch.testing.assert_close(convolution.weight, theirs.reparam_conv.weight, rtol=0, atol=1e-12)
        torch.testing.assert_close(convolution.bias, theirs.reparam_conv.bias, rtol=0, atol=1e-12)
    assert_equal_to(ours, channels_first(theirs), dim=8, resolution=resolution, tolerance=1e-11)


@pytest.mark.parametrize(
    ("options", "kernels"),
    [
        ({"kernel_size": 9, "expansion": 1.5}, [(9, 9)]),
        ({"kernel_size": 9, "small_kernel_size": 9}, [(9, 9)]),
        ({"kernel_size": 11, "small_kernel_size": 3, "decomposed": True}, [(11, 3), (3, 11)]),
        ({"kernel_size": 11, "decomposed": True, "projection": False}, [(11, 5), (5, 11)]),
    ],
)
def test_inference_form_merges_branches_and_norms(options: dict, kernels: list[tuple[int, int]]) -> None:
    mixer = randomise(build_mixer("large_kernel_conv", 8, (14, 14), **options).double().eval(), seed=0)
    before = torch.random.get_rng_state()
    form = inference_form(mixer)
    assert torch.equal(torch.random.get_rng_state(), before)
    fused = form.network
    assert [conv.kernel_size for conv in fused.kernels.branches] == kernels
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    small = options.get("small_kernel_size", 5)
    assert mixer.macs((20, 20)) - fused.macs((20, 20)) == 20 * 20 * mixer.width * small**2
    for resolution in ((1, 1), (4, 7), (14, 14), (20, 23)):
        x = random_map(*resolution, batch=2)
        torch.testing.assert_close(form(x), mixer(x), rtol=0, atol=1e-11)


def test_kernels_are_cut_on_small_maps_only() -> None:
    """What is cut would have met zeros: the numbers and the authors' count stay."""
    mixer = build_mixer("large_kernel_conv", 8, (14, 14), kernel_size=13, projection=False)
    assert mixer.macs((7, 7)) == mixer.authors_macs((7, 7)) == 49 * 8 * (13 * 13 + 25)
    assert mixer.macs((6, 2)) == 12 * 8 * (11 * 3 + 5 * 3)
    assert mixer.authors_macs((6, 2)) == 12 * 8 * (13 * 13 + 25)
