"""Effective receptive fields against answers worked out by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from analysis.receptive_field import area_percent, centre_energy, centre_of, decibels, within_percent
from tests.architectures.small import images, small_network


def energies(maps, batch):
    return centre_energy(maps, batch, torch.Generator().manual_seed(0))


def test_with_identities_the_first_stage_sees_what_the_stem_sees():
    network = small_network("identity").eval()
    found = energies(
        lambda batch: network.forward_intermediates(batch, output_fmt="NCHW", intermediates_only=True), images(2)
    )
    rows, columns = np.nonzero(found[0])
    # Position 8 of 16: two convolutions of 3 x 3, stride 2 and padding 1 see rows 4 * 8 - 3 to 4 * 8 + 3.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (29, 35, 29, 35)
    # Each downsampling reaches one position of its input further to each side: 4, 8 and 16 pixels.
    assert [int(np.ptp(np.nonzero(energy)[0])) + 1 for energy in found[1:3]] == [7 + 8, 7 + 8 + 16]


def test_the_energy_of_a_convolution_is_its_squared_weight():
    convolution = nn.Conv2d(3, 1, 3, padding=1, bias=False)
    (energy,) = energies(lambda batch: [convolution(batch)], torch.randn(5, 3, 7, 7))
    expected = 5 * convolution.weight.detach()[0].double().square().sum(0).numpy()
    np.testing.assert_allclose(energy[2:5, 2:5], expected, rtol=1e-6)
    assert energy.sum() == pytest.approx(expected.sum())


def test_channels_that_a_norm_makes_sum_to_nothing_are_seen_all_the_same():
    def normed(batch):
        return [nn.functional.layer_norm(batch.movedim(1, -1), (3,)).movedim(-1, 1)]

    batch = torch.randn(64, 3, 3, 3)
    (energy,) = energies(normed, batch)
    assert energy[1, 1] == energy.sum() > 1
    # The mean over signs is the sum over channels of squared gradients.
    jacobian = torch.func.vmap(torch.func.jacrev(lambda pixel: nn.functional.layer_norm(pixel, (3,))))(batch[..., 1, 1])
    assert energy.sum() == pytest.approx(jacobian.double().square().sum().item(), rel=0.3)


def test_the_fewest_pixels_that_hold_a_share():
    energy = np.array([[5.0, 3.0], [1.0, 1.0]])
    assert [area_percent(energy, share) for share in (50, 51, 80, 90, 100)] == [25, 50, 50, 75, 100]
    assert area_percent(np.ones((10, 10)), 50) == 50
    with pytest.raises(ValueError, match="no gradient"):
        area_percent(np.zeros((2, 2)), 50)


def test_the_profile_counts_from_the_centre_of_the_features_own_pixels():
    assert centre_of((2, 3), (8, 12)) == (6.0, 6.0)
    energy = np.array([[1.0, 1.0, 1.0], [1.0, 4.0, 1.0], [1.0, 1.0, 1.0]])
    shares = within_percent(energy, centre_of((3, 3), (3, 3)), [0.5, 1, 2])
    assert shares == [pytest.approx(100 * share / 12) for share in (4, 8, 12)]


def test_heat_maps_are_means_of_squares_in_decibels():
    energy = np.array([[4.0, 4.0, 0.04], [4.0, 4.0, 0.04], [0.4, 0.4, 0.0]])
    assert decibels(energy, 2) == [[0, -20], [-10, -60]]
    assert decibels(energy, 3)[2] == [-10, -10, -60]
