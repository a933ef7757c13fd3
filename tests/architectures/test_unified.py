"""The unified backbone: published sizes, options, mixers per stage, initialisation, layout."""

import pytest
import torch
from torch import Tensor, nn

from architectures import NetworkSpec, build_network
from architectures.block import Block, LayerScale, PositionEmbedding
from architectures.stages import stage_resolutions
from architectures.unified import UnifiedBackbone, unified
from mixers import MIXERS, Mixer, build_mixer

from .networks import audible, image, registered

# Facts of the authors' release: parameters of each network, as integers.
PUBLISHED_PARAMS = {
    "unified_halo_micro": 4_389_672,
    "unified_halo_tiny": 31_523_176,
    "unified_halo_small": 52_831_336,
    "unified_halo_base": 93_327_336,
    "unified_pvt_micro": 4_454_056,
    "unified_pvt_tiny": 31_157_736,
    "unified_pvt_small": 50_887_656,
    "unified_pvt_base": 91_566_312,
    "unified_swin_micro": 4_381_042,
    "unified_swin_tiny": 31_540_546,
    "unified_swin_small": 52_867_666,
    "unified_swin_base": 93_388_576,
    "unified_convnext_micro": 4_439_624,
    "unified_convnext_tiny": 31_912_360,
    "unified_convnext_small": 54_393_640,
    "unified_convnext_base": 95_865_576,
    "unified_dcn_v3_micro": 4_302_692,
    "unified_dcn_v3_tiny": 29_933_272,
    "unified_dcn_v3_small": 50_082_280,
    "unified_dcn_v3_base": 97_465_192,
}
# Drop path rates in classification and in detection.
PUBLISHED_DROP_PATH = {
    "unified_halo_micro": (0.0, 0.1),
    "unified_halo_base": (0.5, 0.3),
    "unified_pvt_tiny": (0.1, 0.2),
    "unified_swin_tiny": (0.2, 0.2),
    "unified_convnext_small": (0.4, 0.2),
    "unified_dcn_v3_small": (0.3, 0.2),
}


def described(**spec) -> UnifiedBackbone:
    """The network on the meta device."""
    with torch.device("meta"):
        return build_network(NetworkSpec(**spec))


def blocks_of(network: UnifiedBackbone) -> list[Block]:
    return [block for stage in network.stages for block in stage.blocks]


@pytest.mark.parametrize("name", PUBLISHED_PARAMS)
def test_parameters_of_published_variants(name: str) -> None:
    assert sum(parameter.numel() for parameter in described(name=name).parameters()) == PUBLISHED_PARAMS[name]


@pytest.mark.parametrize("name", PUBLISHED_DROP_PATH)
def test_drop_path_grows_linearly_to_the_published_rate(name: str) -> None:
    for detection, rate in zip((False, True), PUBLISHED_DROP_PATH[name], strict=True):
        rates = [
            block.drop_path.drop_prob for block in blocks_of(described(name=name, options={"detection": detection}))
        ]
        assert rates == pytest.approx(torch.linspace(0, rate, len(rates)).tolist())
    given = blocks_of(described(name=name, drop_path_rate=0.7))
    assert given[-1].drop_path.drop_prob == pytest.approx(0.7)


class TestMixerOptions:
    def test_published_heads(self) -> None:
        stages = described(name="unified_pvt_tiny").stages
        assert [stage.blocks[0].mixer.num_heads for stage in stages] == [1, 2, 5, 8]
        assert [stage.blocks[0].mixer.sr_ratio for stage in stages] == [8, 4, 2, 1]

    def test_shift_alternates_and_is_off_where_the_window_is_the_map(self) -> None:
        stages = described(mixer="shifted_window", scale="micro").stages
        shifts = [[block.mixer.shift_size for block in stage.blocks] for stage in stages]
        assert shifts == [[0, 3], [0, 3], [0, 3] * 4 + [0], [0, 0]]

    def test_detection_shifts_in_every_stage_and_sees_padding(self) -> None:
        stages = described(mixer="shifted_window", scale="micro", options={"detection": True}).stages
        assert [block.mixer.shift_size for block in stages[3].blocks] == [0, 3]
        assert not stages[0].blocks[0].mixer.mask_padding
        assert (
            not described(mixer="halo", scale="micro", options={"detection": True})
            .stages[0]
            .blocks[0]
            .mixer.mask_padding
        )

    @pytest.mark.parametrize(
        ("option", "value", "expected"),
        [
            ("window_size", 8, [[8] * 2, [8] * 2, [8] * 9, [7] * 2]),
            ("window_size", (8, 7, 14, 7), [[8] * 2, [7] * 2, [14] * 9, [7] * 2]),
            ("shift_size", 2, [[2] * 2, [2] * 2, [2] * 9, [0] * 2]),
            ("shift_size", (0, 1, 2, 3), [[0] * 2, [1] * 2, [2] * 9, [0] * 2]),
        ],
    )
    def test_given_values_win(self, option: str, value: int | tuple[int, ...], expected: list[list[int]]) -> None:
        network = described(mixer="shifted_window", scale="micro", mixer_options={option: value})
        assert [[getattr(block.mixer, option) for block in stage.blocks] for stage in network.stages] == expected

    @pytest.mark.parametrize("window", [1, 3, 7, 14])
    def test_shift_is_half_of_the_window_that_was_given(self, window: int) -> None:
        options = {"window_size": window, "shrink_window": False}
        network = described(mixer="shifted_window", scale="micro", mixer_options=options)
        for stage in network.stages:
            shifts = [block.mixer.shift_size for block in stage.blocks]
            assert shifts == [index % 2 * (window // 2) for index in range(len(shifts))]

    def test_neither_three_nor_five_values_are_a_cycle(self) -> None:
        for values in ((0, 3), (0, 1, 2), (0,) * 5):
            with pytest.raises(ValueError, match="shift_size takes one value or 4, one a stage"):
                described(mixer="shifted_window", scale="micro", mixer_options={"shift_size": values})

    def test_four_mixers_get_their_own_options(self) -> None:
        mixers = ("depthwise_conv", "halo", "identity", "depthwise_conv")
        options = {"kernel_size": 5, "block_size": 4}
        network = described(mixer=mixers, scale="micro", mixer_options=options)
        for stage, mixer in zip(network.stages, mixers, strict=True):
            assert {type(block.mixer) for block in stage.blocks} == {MIXERS[mixer]}
        assert network.stages[3].blocks[0].mixer.kernel_size == 5
        assert network.stages[1].blocks[0].mixer.block_size == 4

    def test_four_times_the_same_mixer_is_the_published_variant(self) -> None:
        same, single = described(mixer=("halo",) * 4, scale="tiny"), described(mixer="halo", scale="tiny")
        assert {key: value.shape for key, value in same.state_dict().items()} == {
            key: value.shape for key, value in single.state_dict().items()
        }


class TestInitialization:
    def test_convolutions_and_linear_layers_of_mixers_too(self) -> None:
        torch.manual_seed(0)
        network = build_network(NetworkSpec("unified_dcn_v3_micro"))
        weights = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        assert len(weights) > 60
        for module in weights:
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.25)
            assert module.bias is None or not module.bias.any()

    @pytest.mark.parametrize("name", ["unified_halo_micro", "unified_pvt_micro", "unified_swin_micro"])
    def test_moments_of_published_variants(self, name: str) -> None:
        """Truncated normal of deviation 0.02 in every product and bias table, 1 / sqrt(width) in halo's tables."""
        torch.manual_seed(0)
        for key, entry in build_network(NetworkSpec(name)).named_parameters():
            if entry.ndim > 1:
                wanted = 32**-0.5 if key.endswith(("height_rel", "width_rel")) else 0.02
                assert float(entry.detach().std()) == pytest.approx(wanted, rel=0.25), key
                assert abs(float(entry.detach().mean())) <= 5 * wanted / entry.numel() ** 0.5, key

    def test_a_mixer_has_the_last_word_on_itself(self) -> None:
        class ZeroOffsets(Mixer):
            def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
                super().__init__(dim, resolution)
                self.offsets = nn.Linear(dim, dim)
                self.table = nn.Parameter(torch.ones(3, dim))
                nn.init.zeros_(self.offsets.weight)

            def init_weights(self) -> None:
                nn.init.constant_(self.table, 2.0)

            def no_weight_decay(self) -> set[str]:
                return {"table"}

            def forward(self, x: Tensor) -> Tensor:
                return x + self.offsets(x)

        with registered("zero_offsets", ZeroOffsets):
            network = build_network(NetworkSpec(mixer="zero_offsets", scale="micro", dims=(8,) * 4, depths=(1,) * 4))
        exempt = network.no_weight_decay()
        assert exempt == {f"stages.{stage}.blocks.0.mixer.table" for stage in range(4)}
        for block in blocks_of(network):
            assert not block.mixer.offsets.weight.any()
            assert block.mixer.offsets.bias.any()  # PyTorch's own
            assert (block.mixer.table == 2).all()
        network.stages[1].blocks[0].mixer.no_weight_decay = lambda: {"tabel"}
        with pytest.raises(ValueError, match=r"names 'tabel', no parameter of stages\.1\.blocks\.0\.mixer"):
            network.no_weight_decay()

    def test_tables_of_published_variants_do_not_decay(self) -> None:
        table = "mixer.relative_position_bias_table"
        names = described(name="unified_swin_micro").no_weight_decay()
        assert names == {f"stages.{i}.blocks.{j}.{table}" for i, depth in enumerate((2, 2, 9, 2)) for j in range(depth)}
        assert not described(name="unified_halo_micro").no_weight_decay()
        free = described(mixer="halo", scale="micro", mixer_options={"relative_embedding": "query_free"})
        assert "stages.3.blocks.1.mixer.pos_embed.relative_position_bias_table" in free.no_weight_decay()
        assert len(free.no_weight_decay()) == 15

    def test_everything_else(self) -> None:
        network = build_network(NetworkSpec("unified_pvt_micro"))
        for module in network.modules():
            if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
                assert (module.weight == 1).all()
                assert not module.bias.any()
            elif isinstance(module, LayerScale):
                assert (module.gamma == 1e-6).all()
            elif isinstance(module, PositionEmbedding):
                assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.1)

    def test_eps(self) -> None:
        network = described(name="unified_halo_micro")
        assert {norm.eps for block in blocks_of(network) for norm in (block.norm1, block.norm2)} == {1e-5}
        assert {network.stages[1].norm.eps, network.stages[1].downsample.norm.eps, network.stem.norm1.eps} == {1e-6}
        assert {block.norm1.eps for block in blocks_of(described(name="unified_swin_micro"))} == {1e-6}


class TestOptions:
    @pytest.mark.parametrize("initial", [0.0, -1.0])
    def test_no_layer_scale(self, initial: float) -> None:
        network = described(name="unified_swin_micro", options={"layer_scale_init": initial})
        assert not [key for key in network.state_dict() if "layer_scale" in key]

    def test_mlp_ratio(self) -> None:
        network = described(name="unified_swin_micro", options={"mlp_ratio": (1, 2, 3, 0.5)})
        hidden = [stage.blocks[0].mlp.fc1.out_features for stage in network.stages]
        assert hidden == [32, 128, 384, 128]

    def test_position_embedding(self) -> None:
        network = described(name="unified_swin_micro", options={"position_embedding": True}, img_size=(96, 160))
        shapes = [tuple(stage.blocks[0].position.weight.shape) for stage in network.stages]
        assert shapes == [(24, 40, 32), (12, 20, 64), (6, 10, 128), (3, 5, 256)]
        assert all(block.position is None for stage in network.stages for block in stage.blocks[1:])

    def test_detection_has_output_norms_instead_of_stage_norms_and_conv_head(self) -> None:
        keys = described(name="unified_pvt_micro", options={"detection": True}).state_dict()
        assert "output_norms.3.weight" in keys
        assert not [key for key in keys if key.startswith(("conv_head", "stages.0.norm"))]


class TestBlock:
    def block(self, **options) -> Block:
        torch.manual_seed(0)
        mixer = build_mixer("depthwise_conv", 8, (4, 6), kernel_size=3)
        plain = {"mlp_ratio": 2, "norm_eps": 1e-5, "layer_scale_init": 1.0, "drop_path": 0.0}
        return Block(8, mixer, **plain | options).double()

    def expected(self, block: Block, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + block.layer_scale1.gamma * block.mixer(nn.functional.layer_norm(mixed, (8,), eps=1e-5))
        hidden = nn.functional.gelu(block.mlp.fc1(nn.functional.layer_norm(x, (8,), eps=1e-5)))
        return x + block.layer_scale2.gamma * block.mlp.fc2(hidden)

    @pytest.mark.parametrize("in_residual", [True, False])
    def test_position_embedding_of_the_residual_or_of_the_branch_only(self, in_residual: bool) -> None:
        position = PositionEmbedding(8, (4, 6))
        block = self.block(position=position, position_in_residual=in_residual)
        x = torch.randn(2, 4, 6, 8, dtype=torch.float64)
        with_position = x + position.weight
        expected = self.expected(block, with_position if in_residual else x, with_position)
        torch.testing.assert_close(block(x), expected)

    def test_position_embedding_at_another_size(self) -> None:
        position = PositionEmbedding(8, (4, 6)).double()
        grid = position.weight.permute(2, 0, 1)[None]
        expected = nn.functional.interpolate(grid, (7, 3), mode="bilinear", align_corners=True)[0].permute(1, 2, 0)
        x = torch.randn(2, 7, 3, 8, dtype=torch.float64)
        torch.testing.assert_close(position(x), x + expected)

    def test_drop_path_drops_whole_images_of_a_branch_and_scales_the_rest(self) -> None:
        block = self.block(drop_path=0.5, layer_scale_init=0.5).train()
        for module in (block.mlp.fc2, block.mixer.output_proj):
            nn.init.zeros_(module.weight)
            nn.init.ones_(module.bias)
        torch.manual_seed(0)
        added = block(torch.zeros(400, 1, 1, 8, dtype=torch.float64)).detach()
        assert set(added.unique().tolist()) == {0.0, 1.0, 2.0}
        assert torch.equal(added.amin(-1), added.amax(-1))
        # Each branch adds 0.5 / 0.5 = 1 to half of the images.
        assert float(added.mean()) == pytest.approx(1.0, abs=0.15)


class TestSizes:
    def test_resolutions_of_stages_are_those_of_the_convolutions(self) -> None:
        network = build_network(NetworkSpec("unified_identity_micro"))
        for size in ((32, 32), (33, 47), (64, 100), (225, 129)):
            maps = network.forward_intermediates(image(size, batch=1), intermediates_only=True)
            assert [tuple(feature_map.shape[2:]) for feature_map in maps] == stage_resolutions(size)

    def test_network_built_for_another_size_shares_all_but_tables(self) -> None:
        network = audible(build_network(NetworkSpec("unified_halo_micro")).eval())
        other = build_network(NetworkSpec("unified_halo_micro", img_size=(64, 96))).eval()
        other.load_state_dict(network.state_dict())
        with torch.no_grad():
            torch.testing.assert_close(other(image((64, 96))), network(image((64, 96))))


def test_maps_are_never_copied_between_layouts() -> None:
    """Every layer norm, and so every block, sees a contiguous B, H, W, C map."""
    network = build_network(NetworkSpec("unified_convnext_micro")).eval()
    strides = []
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_pre_hook(lambda module, inputs: strides.append(inputs[0].is_contiguous()))
    with torch.no_grad():
        network(image((64, 96)))
    assert len(strides) > 40
    assert all(strides)


def test_without_downsampling_only_the_mixers_reach_beyond_the_stem() -> None:
    """Around identity, an isotropic network is a bag of 7 x 7 patches."""
    network = unified(mixer="identity", scale="nano", downsample=False, num_classes=2, img_size=32).eval()
    assert [info["reduction"] for info in network.feature_info] == [4, 4, 4, 4]
    image = torch.randn(1, 3, 32, 32, requires_grad=True)
    maps = network.forward_features(image)
    assert maps.shape == (1, 8, 8, 48)
    maps[0, 4, 4, 0].backward()  # the sum over channels is what the norm makes it, whatever is seen
    seen = image.grad[0].abs().sum(0) > 0
    assert seen.nonzero().amin(0).tolist() == [13, 13]
    assert seen.nonzero().amax(0).tolist() == [19, 19]


def test_without_downsampling_other_widths_are_reached_pixel_by_pixel() -> None:
    network = unified(mixer="sra", scale="micro", downsample=False, num_classes=2, img_size=32)
    maps = network.forward_intermediates(torch.randn(1, 3, 32, 32), intermediates_only=True)
    assert [tuple(found.shape[1:]) for found in maps] == [(dim, 8, 8) for dim in (32, 64, 160, 256)]
