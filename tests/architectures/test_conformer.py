"""Conformer: both branches equal to the authors' code in float64, and what it promises beyond it."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures import NetworkSpec, build_network
from architectures.channels_last import channels_first
from architectures.checkpoints import CheckpointError, convert
from architectures.conformer import MapToTokens, TokensToMap

from ..golden.fill import input_for
from .goldens import (
    DETECTION,
    TOLERANCE,
    assert_summary,
    detection_maps,
    network_of,
    official_state_dict,
    parameters,
    recording,
    reference,
    relative_error,
)

PARAMETERS = {
    "conformer_tiny_patch16": 23_524_704,
    "conformer_small_patch16": 37_673_424,
    "conformer_base_patch16": 83_289_136,
    "conformer_small_patch32": 38_853_072,
}
LITTLE = {"channel_ratio": 1, "token_dim": 24, "num_heads": 2, "num_classes": 10}


def on_meta(network: str, **spec) -> nn.Module:
    with torch.device("meta"):
        return build_network(NetworkSpec(network, **spec))


@pytest.fixture(scope="module")
def little() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("conformer_tiny_patch16", **LITTLE).eval()


@pytest.mark.parametrize(
    "network",
    [
        "conformer_tiny_patch16",
        pytest.param("conformer_small_patch16", marks=pytest.mark.slow),
        pytest.param("conformer_small_patch32", marks=pytest.mark.slow),
    ],
)
def test_equals_the_authors_network(network: str) -> None:
    name = network.replace("conformer", "Conformer")
    golden = reference("conformer", name)
    ours = network_of("conformer", name, network)
    levels = [level for stage in ours.stages for level in stage.blocks]
    modules = {"stem": ours.stem, "fcu_down2": levels[1].to_tokens, "fcu_up2": levels[1].to_map}
    modules |= {f"stage{number}": level for number, level in enumerate(levels, start=1)}
    outputs: dict[str, Tensor | tuple[Tensor, Tensor]] = {}

    with torch.inference_mode(), recording(modules, outputs):
        logits = ours(input_for())
        pair = ours.forward_pair(input_for())

    assert_summary(golden, "stem", channels_first(outputs["stem"]))
    # The authors put the class token in front of the tokens that come from the map.
    assert_summary(golden, "fcu_down2", torch.cat([outputs["stage1"][1][:, :1], outputs["fcu_down2"]], dim=1))
    assert_summary(golden, "fcu_up2", outputs["fcu_up2"])
    for number in range(1, 13):
        feature_map, tokens = outputs[f"stage{number}"]
        assert_summary(golden, f"stage{number}", channels_first(feature_map))
        assert_summary(golden, f"stage{number}t", tokens)
    for branch, wanted in zip(pair, ("logits_conv", "logits_trans"), strict=True):
        assert relative_error(branch, golden[wanted]) <= TOLERANCE
    assert relative_error(logits, golden["logits_conv"] + golden["logits_trans"]) <= TOLERANCE


def test_detection_pyramid_equals_the_authors() -> None:
    name = "det_Conformer_small_patch32"
    golden = reference("conformer", name)
    for index, feature_map in enumerate(detection_maps("conformer", name, "conformer_small_patch32")):
        assert_summary(golden, f"out{index}", feature_map)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_the_authors(name: str) -> None:
    assert parameters(on_meta(name)) == PARAMETERS[name]


def test_parameters_of_the_detection_backbone_are_as_many_as_the_authors() -> None:
    assert parameters(on_meta("conformer_small_patch32", num_classes=0, options=DETECTION)) == 37_442_304


def test_training_gives_both_branches_and_evaluation_their_sum(little: nn.Module) -> None:
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        summed, pair = little(image), little.forward_pair(image)
    torch.testing.assert_close(summed, pair[0] + pair[1])
    assert not torch.allclose(*pair)

    little.train()
    try:
        trained = little(image)
    finally:
        little.eval()
    assert isinstance(trained, tuple)
    assert [tuple(logits.shape) for logits in trained] == [(2, 10), (2, 10)]


def test_every_parameter_learns_at_an_odd_size() -> None:
    torch.manual_seed(0)
    network = timm.create_model("conformer_small_patch32", **LITTLE, drop_path_rate=0)
    labels = torch.tensor([1, 2])
    losses = [F.cross_entropy(logits, labels) for logits in network(torch.randn(2, 3, 75, 110))]
    (sum(losses) / 2).backward()
    assert [key for key, parameter in network.named_parameters() if not parameter.grad.any()] == []


@torch.inference_mode()
@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_branches_stay_aligned_at_sizes_that_patches_do_not_divide(ratio: int) -> None:
    """A pixel receives its own patch's token, and a token the mean of the pixels that its patch has."""
    height, width = 9, 14
    rows, columns = -(-height // ratio), -(-width // ratio)
    up = TokensToMap(6, 3, ratio).eval()
    tokens = torch.randn(2, rows * columns, 6)
    feature_map = up(tokens, height, width)
    down = MapToTokens(3, 6, ratio).eval()
    pooled = down(feature_map)
    for row in range(height):
        for column in range(width):
            token = tokens[:, row // ratio * columns + column // ratio]
            alone = up(token[:, None], 1, 1)[:, :, 0, 0]
            torch.testing.assert_close(feature_map[:, :, row, column], alone)
    for row in range(rows):
        for column in range(columns):
            patch = feature_map[..., row * ratio : (row + 1) * ratio, column * ratio : (column + 1) * ratio]
            alone = F.gelu(down.norm(down.conv(patch).mean((2, 3))))
            torch.testing.assert_close(pooled[:, row * columns + column], alone)


@torch.inference_mode()
def test_pyramid_follows_the_convolution_branch(little: nn.Module) -> None:
    pyramid = timm.create_model("conformer_tiny_patch16", features_only=True, **LITTLE | {"num_classes": 0}).eval()
    kept = {key: value for key, value in little.state_dict().items() if key in pyramid.model.state_dict()}
    pyramid.model.load_state_dict(kept)
    image = torch.randn(1, 3, 75, 110)
    maps = pyramid(image)
    assert [tuple(feature_map.shape[1:]) for feature_map in maps] == [
        (64, 19, 28),
        (128, 10, 14),
        (256, 5, 7),
        (256, 3, 4),
    ]
    (last_map, _), _ = little.forward_intermediates(image)
    torch.testing.assert_close(maps[-1], channels_first(last_map))
    assert not any(key.startswith(("token_norm", "map_classifier", "token_classifier")) for key in pyramid.state_dict())


@torch.inference_mode()
def test_without_classes_both_branches_features_come_out(little: nn.Module) -> None:
    image = torch.randn(2, 3, 64, 64)
    features = little.forward_features(image)
    wanted = torch.cat([features[0].mean((1, 2)), features[1][:, 0]], dim=1)
    headless = timm.create_model("conformer_tiny_patch16", **LITTLE | {"num_classes": 0}).eval()
    headless.load_state_dict({key: value for key, value in little.state_dict().items() if "_classifier" not in key})
    torch.testing.assert_close(headless(image), wanted)
    torch.testing.assert_close(little.forward_head(features, pre_logits=True), wanted)
    assert wanted.shape[1] == little.head_hidden_size


def test_classes_without_pooling_are_refused() -> None:
    with pytest.raises(ValueError, match="global_pool='' needs num_classes=0"):
        timm.create_model("conformer_tiny_patch16", **LITTLE, global_pool="")
    with pytest.raises(ValueError, match="global_pool must be 'avg' or ''"):
        timm.create_model("conformer_tiny_patch16", **LITTLE, global_pool="max")


@pytest.mark.parametrize(
    "impossible", [{"num_heads": 5}, {"patch_size": 8}, {"channel_ratio": 0}, {"drop_path_rate": 1.0}]
)
def test_an_impossible_option_is_named(impossible: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(impossible))}="):
        timm.create_model("conformer_tiny_patch16", **impossible)


def test_stochastic_depth_is_in_the_transformer_branch_only() -> None:
    network = on_meta("conformer_base_patch16")
    levels = [level for stage in network.stages for level in stage.blocks]
    rates = [getattr(level.token_block.drop_path1, "drop_prob", 0.0) for level in levels]
    assert rates == pytest.approx(torch.linspace(0, 0.1, 12).tolist())
    assert not any("drop_path" in name and "token_block" not in name for name, _ in network.named_modules())


def test_detectors_are_trained_without_stochastic_depth_unless_it_is_given() -> None:
    for rate, wanted in ((None, 0.0), (0.2, 0.2)):
        network = on_meta("conformer_small_patch32", num_classes=0, options=DETECTION, drop_path_rate=rate)
        assert getattr(network.stages[3].blocks[0].token_block.drop_path1, "drop_prob", 0.0) == pytest.approx(wanted)


@pytest.mark.parametrize("options", [DETECTION, {"frozen": True}], ids=str)
def test_in_detectors_the_stem_and_the_statistics_of_batch_norms_are_frozen(options: dict[str, bool]) -> None:
    pyramid = timm.create_model("conformer_tiny_patch16", features_only=True, **LITTLE, **options).train()
    before = {name: buffer.clone() for name, buffer in pyramid.named_buffers()}
    pyramid(torch.randn(2, 3, 64, 64))[-1].sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in pyramid.named_buffers())
    without = {name for name, parameter in pyramid.named_parameters() if not parameter.requires_grad}
    assert without == {"model.stem.conv.weight", "model.stem.norm.weight", "model.stem.norm.bias"}
    assert pyramid.model.stages[0].blocks[0].conv_block.norm1.weight.grad.any()
    assert pyramid.model.stages[0].blocks[1].token_block.training


def test_a_detection_form_can_learn_whole() -> None:
    network = timm.create_model("conformer_tiny_patch16", **LITTLE, **DETECTION, frozen=False)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.modules())


def test_norms_have_the_authors_three_epsilons() -> None:
    network = on_meta("conformer_tiny_patch16")
    norms = {
        name: module.eps
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm)
    }
    assert {name for name, epsilon in norms.items() if epsilon == 1e-5} == {"stem.norm", "token_norm"}
    assert set(norms.values()) == {1e-5, 1e-6}


def test_initialisation_is_the_authors() -> None:
    torch.manual_seed(0)
    network = timm.create_model("conformer_tiny_patch16")
    level = network.stages[2].blocks[1]
    for convolution in (network.stem.conv, level.conv_block.conv2, level.to_tokens.conv):
        fan_out = convolution.weight[:, 0].numel()
        assert float(convolution.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)
    # Biases of convolutions keep PyTorch's default: uniform up to 1 / sqrt(fan-in).
    bias = level.to_tokens.conv.bias.detach()
    assert float(bias.abs().max()) == pytest.approx(level.to_tokens.conv.in_channels**-0.5, rel=0.02)
    for linear in (level.token_block.attn.qkv, level.token_block.mlp.fc2, *network.get_classifier()):
        assert float(linear.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
        assert not linear.bias.any()
    assert float(network.stages[0].blocks[0].cls_token.detach().std()) == pytest.approx(0.02, rel=0.1)


def test_the_class_token_is_the_authors_only_exception_from_decay() -> None:
    assert on_meta("conformer_tiny_patch16").no_weight_decay() == {"stages.0.blocks.0.cls_token"}


def test_a_checkpoint_of_another_network_is_refused() -> None:
    small = official_state_dict("conformer", "Conformer_tiny_patch16")
    with pytest.raises(CheckpointError, match=r"conformer_small_patch16: conv_1\.conv1\.weight has shape"):
        convert("conformer_small_patch16", small)
    truncated = {key: value for key, value in small.items() if not key.startswith("conv_trans_12.fusion_block")}
    with pytest.raises(CheckpointError, match=r"conv_trans_12\.fusion_block\.conv1\.weight is missing"):
        convert("conformer_tiny_patch16", truncated)
    with pytest.raises(CheckpointError, match=r"med_block\.0\.conv1\.weight is unknown"):
        convert("conformer_tiny_patch16", small | {"conv_trans_2.med_block.0.conv1.weight": torch.ones(1)})
