"""Budget matching: a mixer without a published row costs what its scale costs, whatever the mixer and its options."""

from collections.abc import Iterator
from statistics import median

import pytest
import torch
from torch import Tensor, nn

from analysis.complexity import measure
from architectures import NetworkSpec, build_network
from architectures.budget import network_cost, scale_budget
from architectures.unified import UnifiedBackbone
from architectures.variants import STARTING_POINTS, VARIANTS
from mixers import MIXERS, Mixer, register

from .test_unified import PUBLISHED_PARAMS

SCALES = list(STARTING_POINTS)
MATCHED = [mixer for mixer in MIXERS if mixer not in VARIANTS]


def described(mixer: str | tuple[str, ...], scale: str, **spec) -> UnifiedBackbone:
    with torch.device("meta"):
        return build_network(NetworkSpec(mixer=mixer, scale=scale, **spec)).eval()


def params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module) -> int:
    return measure(network, resolution=(224, 224), in_chans=3).macs


@pytest.fixture
def users_mixers() -> Iterator[None]:
    """Two mixers as a user may write them: one heavy, one with heads that do not follow the width."""

    class DenseConvolution(Mixer):
        def __init__(self, dim: int, resolution: tuple[int, int], *, kernel_size: int = 3) -> None:
            super().__init__(dim, resolution)
            self.conv = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

        def macs(self, resolution: tuple[int, int]) -> int:
            return self.conv.weight.numel() * resolution[0] * resolution[1]

        def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
            raise NotImplementedError

    class SevenHeads(DenseConvolution):
        def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
            if dim % 7:
                raise ValueError(f"dim={dim}: must be a multiple of 7")
            super().__init__(dim, resolution, kernel_size=1)

    register("dense_convolution")(DenseConvolution)
    register("seven_heads")(SevenHeads)
    yield
    del MIXERS["dense_convolution"], MIXERS["seven_heads"]


@pytest.mark.parametrize("scale", SCALES)
def test_budget_is_the_median_of_the_published_variants(scale: str) -> None:
    assert scale_budget(scale, "params") == median(PUBLISHED_PARAMS[name] for name in PUBLISHED_PARAMS if scale in name)


@pytest.mark.parametrize("mixer", ["halo", "sra", "shifted_window", "depthwise_conv", "dcnv3"])
def test_costs_are_those_of_the_network(mixer: str) -> None:
    cost, network = network_cost((mixer,) * 4, VARIANTS[mixer]["micro"]), described(mixer, "micro")
    assert cost.params == params(network)
    assert cost.macs == pytest.approx(macs(network), rel=0.005)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mixer", MATCHED)
def test_parameters_within_two_percent(mixer: str, scale: str) -> None:
    assert params(described(mixer, scale)) == pytest.approx(scale_budget(scale, "params"), rel=0.02)


@pytest.mark.parametrize(
    ("mixer", "scale"),
    [
        # Counting its 49 taps one by one takes seconds.
        pytest.param(mixer, scale, marks=pytest.mark.slow if mixer.startswith("inhomogeneous") else ())
        for mixer in MATCHED
        for scale in SCALES
    ],
)
def test_macs_within_two_percent_when_asked(mixer: str, scale: str) -> None:
    assert macs(described(mixer, scale, budget="macs")) == pytest.approx(scale_budget(scale, "macs"), rel=0.02)


def test_published_variants_are_not_matched() -> None:
    assert params(described("shifted_window", "tiny", budget="macs")) == PUBLISHED_PARAMS["unified_swin_tiny"]


def test_four_mixers_are_matched_together() -> None:
    mixers = ("depthwise_conv", "pooling", "halo", "global_attention")
    assert params(described(mixers, "tiny")) == pytest.approx(scale_budget("tiny", "params"), rel=0.02)


def test_heads_keep_their_width() -> None:
    for scale in SCALES:
        for block in described("global_attention", scale).stages[2].blocks:
            assert block.mixer.dim == 32 * block.mixer.num_heads


def test_options_are_part_of_what_is_matched() -> None:
    plain = described("dynamic_depthwise_conv", "tiny")
    larger = described("dynamic_depthwise_conv", "tiny", mixer_options={"kernel_size": 11}, options={"mlp_ratio": 3})
    assert params(larger) == pytest.approx(params(plain), rel=0.04)
    assert larger.stages[0].blocks[0].mixer.kernel_size == 11
    assert larger.feature_info != plain.feature_info


def test_width_does_not_depend_on_the_data() -> None:
    plain, other = described("pooling", "micro"), described("pooling", "micro", num_classes=10, img_size=(64, 64))
    assert plain.feature_info == other.feature_info


def test_shape_stays_near_the_published_ones() -> None:
    for scale, start in STARTING_POINTS.items():
        network = described("global_attention", scale)
        assert [info["num_chs"] for info in network.feature_info] == list(start.dims)
        assert [len(stage.blocks) for stage in network.stages] == list(start.depths)


@pytest.mark.usefixtures("users_mixers")
class TestUsersMixers:
    @pytest.mark.parametrize("mixer", ["dense_convolution", "seven_heads"])
    @pytest.mark.parametrize("budget", ["params", "macs"])
    def test_matched_from_the_class_alone(self, mixer: str, budget: str) -> None:
        network = described(mixer, "tiny", budget=budget)
        count = params if budget == "params" else macs
        assert count(network) == pytest.approx(scale_budget("tiny", budget), rel=0.02)

    def test_impossible_budget_says_how_far_it_is(self) -> None:
        with pytest.raises(ValueError, match=r"budget: no width and depth .* dense_convolution .* 2% .* off"):
            described("dense_convolution", "micro", mixer_options={"kernel_size": 51})

    def test_impossible_option_is_named_and_not_taken_for_a_width(self) -> None:
        with pytest.raises(ValueError, match=r"kernel_size='3'"):
            described("dense_convolution", "micro", mixer_options={"kernel_size": "3"})
