"""Growth, crossings and training memory against answers worked out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.scaling import crossings, growth, largest_within, training_memory
from tests.architectures.small import small_network

SIZES = [10.0, 20.0, 40.0, 80.0]


def test_a_power_law_has_its_exponent_and_no_width():
    found = growth(SIZES, [3 * size**1.5 for size in SIZES])
    assert found.exponent == pytest.approx(1.5)
    assert found.high - found.low == pytest.approx(0, abs=1e-9)


def test_the_interval_of_an_exponent_by_hand():
    # ln 2 apart, and off the line y = x by e, -e, -e, e: slope 1, residual variance 4 e² / 2, Σ (x - mean)² = 5 ln² 2.
    off = 0.1
    found = growth(
        SIZES, [size * 2.718281828459045**sign for size, sign in zip(SIZES, (off, -off, -off, off), strict=True)]
    )
    assert found.exponent == pytest.approx(1)
    assert found.high - 1 == pytest.approx(4.302653 * (2 * off**2 / (5 * 0.6931472**2)) ** 0.5, rel=1e-5)


def test_two_sizes_have_no_interval_and_one_has_no_exponent():
    assert growth([1, 4], [1, 2]).exponent == pytest.approx(0.5)
    assert growth([1, 4], [1, 2]).low is None
    assert growth([4], [2]) is None


def test_lines_cross_where_they_are_equal():
    # x² / 100 and 2 x are equal at 200; x and 2 x never.
    sizes = [50, 100, 400, 800]
    ((size, cost),) = crossings(sizes, [size**2 / 100 for size in sizes], [2 * size for size in sizes])
    assert (size, cost) == (pytest.approx(200), pytest.approx(400))
    assert crossings(sizes, sizes, [2 * size for size in sizes]) == []


def test_what_fits_lies_between_what_was_tried():
    assert largest_within([10, 20, 40], [100, 400, 1600], 900) == pytest.approx(30)
    assert largest_within([10, 20], [100, 400], 401) is None
    assert largest_within([10, 20], [100, 400], 99) is None


def test_the_memory_of_a_linear_layer_by_hand():
    with torch.device("meta"):
        network = nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.ReLU(), nn.Linear(10, 2, bias=False))
    found = training_memory(network, (4, 4))
    # The image, which the first layer keeps, and the hidden units, which ReLU and the second layer share.
    assert found.bytes_an_image == 4 * (48 + 10)
    assert found.fixed_bytes == 16 * (48 * 10 + 10 + 20)
    assert found.largest_batch((found.fixed_bytes + 2.5 * found.bytes_an_image) / 2**20) == 2
    assert found.largest_batch(0.001) == 0


class Attention(nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)


def test_fused_attention_keeps_no_scores():
    with torch.device("meta"):
        found = training_memory(nn.Sequential(nn.Conv2d(3, 1, 1), Attention()), (8, 8))
    # The image; query, key and value, which are one; the output and a number for each query.
    assert found.bytes_an_image == 4 * (3 * 64 + 64 + 64 + 8)


@pytest.mark.parametrize("mixer", ["depthwise_conv", "sra", "dcnv3"])
def test_the_meta_device_keeps_what_a_real_one_keeps(mixer):
    network, kept = small_network(mixer), {}
    ours = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}

    def keep(tensor):
        if (storage := tensor.untyped_storage()).data_ptr() not in ours:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network.train()(torch.randn(3, 3, 32, 32))
    del output
    with torch.device("meta"):
        found = training_memory(small_network(mixer), (32, 32))
    parameters = 16 * sum(parameter.numel() for parameter in network.parameters())
    assert found.fixed_bytes - parameters + 3 * found.bytes_an_image == sum(each.nbytes() for each in kept.values())
