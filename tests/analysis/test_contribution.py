"""What mixers contribute, against answers worked out by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from analysis.contribution import Averages, effective_rank, lost_points, mixing_matrix
from architectures.inference import inference_form
from architectures.without_mixers import identity, mixers_by_stage, replaced, zero
from mixers import build_mixer
from tests.architectures.small import images, small_network


class Positions(nn.Module):
    """Mixes the positions of all channels by one matrix."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def forward(self, x):
        return torch.einsum("pq, bqc -> bpc", self.matrix, x.flatten(1, 2)).view_as(x)


def draws():
    return torch.Generator().manual_seed(0)


def test_the_mixing_matrix_is_the_one_that_mixes():
    matrix = torch.randn(6, 6, generator=draws())
    found = mixing_matrix(Positions(matrix), torch.randn(1, 2, 3, 5), draws())
    torch.testing.assert_close(found / found[0, 0], (matrix / matrix[0, 0]).double(), rtol=1e-4, atol=1e-5)


def test_the_identity_keeps_all_positions_apart_and_a_mean_none():
    x = torch.randn(1, 3, 4, 8)
    assert effective_rank(mixing_matrix(build_mixer("identity", 8, (3, 4)), x, draws())) == pytest.approx(12)
    assert effective_rank(mixing_matrix(Positions(torch.full((12, 12), 1 / 12)), x, draws())) == pytest.approx(
        1, abs=1e-3
    )
    assert effective_rank(torch.zeros(3, 3)) == 0
    # Singular values 3 and 1: the entropy of 3/4 and 1/4.
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(4 / 3**0.75)


def test_replaced_mixers_are_replaced_in_inference_forms_and_nowhere_after():
    network, image = small_network("depthwise_conv").eval(), images(2)
    whole = inference_form(network)(image)
    mixers = [mixer for stage in mixers_by_stage(network) for mixer in stage]
    assert len(mixers) == 6
    with replaced(mixers, zero):
        silent = inference_form(network)(image)
    for mixer in mixers:
        nn.init.zeros_(mixer.output_proj.weight)
        nn.init.zeros_(mixer.output_proj.bias)
    assert not torch.equal(silent, whole)
    torch.testing.assert_close(silent, network(image))
    with replaced(mixers, identity):
        assert not torch.equal(inference_form(network)(image), silent)
    torch.testing.assert_close(inference_form(network)(image), network(image))


def test_averages_are_means_over_images_and_come_back_from_bytes():
    network = small_network("depthwise_conv").eval()
    mixers = [mixer for stage in mixers_by_stage(network) for mixer in stage]
    outputs = []
    hook = mixers[-1].register_forward_hook(lambda mixer, inputs, output: outputs.append(output.detach()))
    averages = Averages(mixers)
    with torch.no_grad(), replaced(mixers, averages.collect):
        for batch in images(5).split(2):
            network(batch)
    hook.remove()
    again = Averages(mixers)
    again.read(averages.to_bytes(), torch.device("cpu"))
    expected = torch.cat(outputs).mean(0)
    for each in (averages, again):
        given = each.give(mixers[-1], outputs[0], outputs[0])
        assert given.shape == outputs[0].shape
        torch.testing.assert_close(given[1], expected)


def test_lost_points_by_hand():
    before, after = np.array([True, True, True, False]), np.array([True, False, False, True])
    lost = lost_points(before, after)
    # Differences 0, 1, 1, -1: mean 1/4, standard deviation of the mean sqrt(11/12) / 2.
    assert lost.points == 25
    assert lost.high - lost.points == pytest.approx(1.96 * 100 * (11 / 12) ** 0.5 / 2, rel=1e-4)
    same = lost_points(before, before)
    assert (same.points, same.low, same.high) == (0, 0, 0)
