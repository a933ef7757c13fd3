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
    network, mixers, variant = described(mixer, "micro"), (mixer,) * 4, VARIANTS[mixer]["micro"]
    assert network_cost(mixers, variant, "params") == params(network)
    assert network_cost(mixers, variant, "macs") == pytest.approx(macs(network), rel=0.005)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mixer", MATCHED)
def test_parameters_within_two_percent(mixer: str, scale: str) -> None:
    assert params(described(mixer, scale)) == pytest.approx(scale_budget(scale, "params"), rel=0.02)


@pytest.mark.parametrize(
    ("mixer", "scale"),
    [
        # Each tries several sizes; a scale is a row of widths and depths. Counting 49 taps one by one takes seconds.
        pytest.param(
            mixer, scale, marks=pytest.mark.slow if scale != "micro" or mixer.startswith("inhomogeneous") else ()
        )
        for mixer in MATCHED
        for scale in SCALES
    ],
)
def test_macs_within_two_percent_when_asked(mixer: str, scale: str) -> None:
    assert macs(described(mixer, scale, budget="macs")) == pytest.approx(scale_budget(scale, "macs"), rel=0.02)


class TestRules:
    """`network.budget`, and what a network says of itself: budget, dims, depths."""

    @pytest.mark.parametrize(("mixer", "scale"), [("sra", "base"), ("dcnv3", "small")])
    def test_published_mixers_are_matched_too_when_asked(self, mixer: str, scale: str) -> None:
        for budget, count in (("params", params), ("macs", macs)):
            network = described(mixer, scale, budget=budget)
            assert count(network) == pytest.approx(scale_budget(scale, budget), rel=0.02)
            assert network.budget == budget
            assert len(network.stages[2].blocks) == network.depths[2]
            assert [info["num_chs"] for info in network.feature_info] == list(network.dims)

    def test_a_row_that_meets_the_budget_stays_as_it_is(self) -> None:
        for mixer, rows in VARIANTS.items():
            network = described(mixer, "micro", budget="params")
            assert (network.dims, network.depths) == (rows["micro"].dims, rows["micro"].depths)

    def test_heads_keep_the_published_width_at_other_widths(self) -> None:
        network = described("sra", "base", budget="shape", dims=(128, 256, 512, 1024))
        assert [stage.blocks[0].mixer.num_heads for stage in network.stages] == [4, 8, 16, 32]
        for block in described("dcnv3", "small", budget="params").stages[3].blocks:
            assert block.mixer.dim == 16 * block.mixer.groups

    def test_what_decides_where_nothing_is_asked_for(self) -> None:
        dims, depths = (16, 32, 48, 64), (1, 2, 3, 1)
        assert described("halo", "tiny").budget == "published"
        assert described("pooling", "tiny").budget == "params"
        assert described(("halo", "halo", "halo", "sra"), "micro").budget == "params"
        network = described("halo", "micro", dims=dims, depths=depths)
        assert (network.budget, network.dims, network.depths) == ("shape", dims, depths)

    @pytest.mark.parametrize("given", [{}, {"dims": (48, 96, 192, 384)}, {"depths": (1, 1, 5, 1)}])
    def test_shape_leaves_nothing_but_the_mixer_to_differ(self, given: dict) -> None:
        mixers, found = ("halo", "sra", "dcnv3", "pooling"), set()
        for mixer in mixers:
            network = described(mixer, "micro", budget="shape", **given)
            found.add((network.dims, network.depths))
            rest = {key: tuple(entry.shape) for key, entry in network.state_dict().items() if ".mixer." not in key}
            found.add(tuple(rest.items()))
            found.add(tuple(block.norm1.eps for stage in network.stages for block in stage.blocks))
            found.add(tuple(block.drop_path.drop_prob for stage in network.stages for block in stage.blocks))
        assert len(found) == 4  # the same for all mixers: shape, entries, eps, drop path
        start = STARTING_POINTS["micro"]
        assert network.dims == given.get("dims", start.dims)
        assert network.depths == given.get("depths", start.depths)

    def test_what_is_given_is_kept_and_the_rest_is_matched(self) -> None:
        dims, depths = (96, 192, 384, 768), (2, 2, 8, 2)
        deeper = described("identity", "tiny", budget="params", dims=dims)
        assert deeper.dims == dims
        wider = described("identity", "tiny", budget="params", depths=depths)
        assert wider.depths == depths
        for network in (deeper, wider):
            assert params(network) == pytest.approx(scale_budget("tiny", "params"), rel=0.02)

    @pytest.mark.parametrize(
        ("mixer", "spec", "message"),
        [
            ("pooling", {"budget": "published"}, r"budget=published: there is no row of pooling at scale tiny; choose"),
            ("halo", {"budget": "published", "depths": (1, 1, 1, 1)}, r"the row has its own dims and depths"),
            ("halo", {"dims": (64, 128, 256)}, r"dims=\(64, 128, 256\): must be 4 whole numbers, one a stage"),
            ("halo", {"dims": (1, 2, 4, 8)}, r"dims=\(1, 2, 4, 8\): must be .* at least 2, 1, 1, 1"),
            ("halo", {"depths": (2, 2, 0, 2)}, r"depths=\(2, 2, 0, 2\): must be"),
            ("halo", {"budget": "params", "dims": (8, 16, 32, 64)}, r"comes within 2% .* off"),
            ("halo", {"options": {"budget": "macs"}}, r"options: network unified has no 'budget'"),
        ],
    )
    def test_impossible_rules_are_refused(self, mixer: str, spec: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            described(mixer, "tiny", **spec)


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
