"""What is done to images and weights, against answers worked out by hand."""

import math

import pytest
import torch
from torch import nn

from analysis.robustness.images import high_passed, low_passed, occluded, shuffled
from analysis.robustness.weights import with_noise


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(batch=4, height=12, width=16):
    return 255 * torch.rand(batch, 3, height, width, generator=draws(9)) + 1e-3


def test_a_share_of_the_squares_is_black_and_the_rest_untouched():
    pixels = pictures()
    covered = occluded(pixels, 0.25, grid=4, draws=draws())
    black = (covered == 0).all(1)
    squares = black.view(4, 4, 3, 4, 4).permute(0, 1, 3, 2, 4).flatten(3)
    assert (squares.all(3) == squares.any(3)).all()
    assert squares.all(3).sum((1, 2)).tolist() == [4] * 4  # of 16
    assert torch.equal(covered, pixels * ~black[:, None])
    assert not torch.equal(black[0], black[1])
    assert torch.equal(occluded(pixels, 0, grid=4, draws=draws()), pixels)
    assert not occluded(pixels, 1, grid=5, draws=draws()).any()


def test_shuffled_squares_are_the_same_squares():
    def squares(pixels):
        parts = pixels.view(4, 3, 4, 3, 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(4, 16, -1)
        return [set(map(tuple, image.tolist())) for image in parts]

    pixels = pictures()
    moved = shuffled(pixels, 4, draws=draws())
    assert squares(moved) == squares(pixels)
    assert not torch.equal(moved, pixels)
    assert torch.equal(shuffled(pixels, 1, draws=draws()), pixels)
    assert torch.equal(shuffled(pixels, 2, draws=draws(3)), shuffled(pixels, 2, draws=draws(3)))
    with pytest.raises(ValueError, match="a grid of 5×5 does not divide images of 12×16"):
        shuffled(pixels, 5, draws=draws())


def test_filters_part_waves_at_their_frequency():
    columns = torch.arange(16).expand(12, 16)
    slow, fast = (
        40 * torch.cos(2 * math.pi * cycles * columns / 16) for cycles in (1, 4)
    )  # 1/8 and 1/2 of the highest
    image = (100 + slow + fast).expand(1, 3, 12, 16)
    torch.testing.assert_close(low_passed(image, 0.25)[0, 0], 100 + slow)
    torch.testing.assert_close(high_passed(image, 0.25)[0, 0], 100 + fast)
    torch.testing.assert_close(low_passed(image, math.sqrt(2)), image)
    torch.testing.assert_close(high_passed(pictures(), 2.0), pictures().mean((2, 3), keepdim=True).expand(4, 3, 12, 16))
    assert low_passed(torch.tensor([[[[255.0, 0, 0, 0, 0, 0, 0, 0]]]]), 0.5).min() >= 0


def test_weights_get_noise_of_their_own_size_and_nothing_else_does():
    network = nn.Sequential(nn.Conv2d(3, 64, 7), nn.BatchNorm2d(64), nn.Linear(64, 300)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    noisy = with_noise(network, 0.1, draws()).state_dict()
    for name, value in before.items():
        assert torch.equal(network.state_dict()[name], value)
        size = (noisy[name] - value).float().square().mean().sqrt() / value.float().square().mean().sqrt()
        if name in ("0.weight", "2.weight"):
            assert size == pytest.approx(0.1, rel=0.03)
        else:
            assert torch.equal(noisy[name], value)
    assert torch.equal(with_noise(network, 0, draws()).state_dict()["0.weight"], before["0.weight"])
