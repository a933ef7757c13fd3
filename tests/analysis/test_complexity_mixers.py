"""Every registered mixer: what is traced, what it declares, and what torch's own counter says."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from analysis.complexity import TOLERANCE, ComplexityError, measure
from architectures import NetworkSpec, build_network
from mixers import MIXERS, Mixer, build_mixer, mixer_options

from ..mixers.plain import PLAIN

DIM = 64
SIZES = [(14, 14), (15, 22), (5, 5)]


class AroundMixer(nn.Module):
    """An image of 64 channels through one mixer, with a 1x1 convolution for parameters to tell the device by."""

    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(3, DIM, 1)
        self.mixer = mixer

    def forward(self, image: Tensor) -> Tensor:
        return self.mixer(self.embedding(image).permute(0, 2, 3, 1))


def around(name: str, resolution: tuple[int, int]) -> AroundMixer:
    required = {key: 4 for key, option in mixer_options(name).items() if option.default is option.empty}
    with torch.device("meta"):
        return AroundMixer(build_mixer(name, DIM, resolution, **required))


@pytest.mark.parametrize("resolution", SIZES, ids=str)
@pytest.mark.parametrize("name", sorted(MIXERS))
def test_a_mixer_costs_what_it_declares(name: str, resolution: tuple[int, int]) -> None:
    network = around(name, resolution)
    cost = measure(network, resolution)
    embedding = 3 * DIM * resolution[0] * resolution[1]
    assert cost.macs - embedding == pytest.approx(network.mixer.macs(resolution), rel=TOLERANCE)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, 3, *resolution, device="meta"))
    counted = counter.get_total_flops() / 2
    if PLAIN[name].is_counted:
        assert cost.macs == pytest.approx(counted, rel=TOLERANCE)
    else:
        assert 0 < counted <= cost.macs * (1 + TOLERANCE)


@pytest.mark.parametrize("name", sorted(MIXERS))
def test_counting_ten_times_the_pixels_is_no_allocation(name: str) -> None:
    # Global attention over a million pixels would need terabytes.
    assert measure(around(name, (1024, 1024)), (1024, 1024)).params > 0


def test_a_mixer_that_declares_another_cost_is_an_error() -> None:
    network = around("depthwise_conv", (14, 14))
    network.mixer.macs = lambda resolution: 2 * type(network.mixer).macs(network.mixer, resolution)
    with pytest.raises(ComplexityError, match=r"DepthwiseConv \(mixer\): macs\(\) declares 4440576, .* 2220288"):
        measure(network, (14, 14))


def test_attention_that_is_not_fused_costs_the_same() -> None:
    class Unfused(nn.Module):
        def __init__(self, fused: bool) -> None:
            super().__init__()
            self.qkv = nn.Conv2d(3, 3 * DIM, 1)
            self.fused = fused

        def forward(self, image: Tensor) -> Tensor:
            q, k, v = self.qkv(image).flatten(2).transpose(1, 2).chunk(3, -1)
            if self.fused:
                return nn.functional.scaled_dot_product_attention(q, k, v)
            return (q @ k.transpose(1, 2)).softmax(-1) @ v

    with torch.device("meta"):
        fused, unfused = (measure(Unfused(kind), (14, 14)) for kind in (True, False))
    assert fused.macs == unfused.macs == 196 * 3 * 3 * DIM + 2 * 196 * 196 * DIM
    assert unfused.activations - fused.activations == 196 * 196


def test_a_learned_depthwise_filter_is_a_convolution_and_a_computed_one_a_kind_of_its_own() -> None:
    learned = measure(build_network(NetworkSpec(mixer="depthwise_conv", scale="micro")), (64, 64)).by_op
    computed = measure(build_network(NetworkSpec(mixer="dynamic_depthwise_conv", scale="micro")), (64, 64)).by_op
    assert "dynamic_convolution" not in learned
    assert computed["dynamic_convolution"] > 0
