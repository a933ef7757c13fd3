"""DWNet: equal to the authors' code in float64, and what it promises beyond it."""

import pytest
import timm
import torch
from torch import Tensor, nn

from architectures import NetworkSpec, build_network
from architectures.channels_last import channels_first, channels_last
from architectures.checkpoints import CheckpointError, convert
from architectures.dwnet import MixingLayer, PatchMerging
from mixers import build_mixer

from ..golden.fill import input_for, state_dict_for
from .goldens import (
    DETECTION,
    TOLERANCE,
    assert_summary,
    description,
    detection_maps,
    network_of,
    official_state_dict,
    parameters,
    recording,
    reference,
    relative_error,
)

PARAMETERS = {
    "dwnet_tiny": 24_172_744,
    "dwnet_base": 74_347_112,
    "dynamic_dwnet_tiny": 51_131_752,
    "dynamic_dwnet_base": 161_597_928,
    "i_dynamic_dwnet_tiny": 26_244_280,
    "i_dynamic_dwnet_base": 80_253_608,
}
DETECTION_PARAMETERS = {
    "dwnet_tiny": 23_405_088,
    "dwnet_base": 73_323_904,
    "dynamic_dwnet_tiny": 50_364_096,
    "dynamic_dwnet_base": 160_574_720,
}


def on_meta(network: str, **spec) -> nn.Module:
    with torch.device("meta"):
        return build_network(NetworkSpec(network, **spec))


def flat(feature_map: Tensor) -> Tensor:
    """The authors' tokens: B, H * W, C."""
    return feature_map.flatten(1, 2)


@pytest.mark.parametrize(
    "name",
    [
        "dwnet_tiny",
        "dynamic_dwnet_tiny",
        "dynamic_dwnet_tiny_damped",
        "i_dynamic_dwnet_tiny",
        "i_dynamic_dwnet_tiny_damped",
    ],
)
def test_equals_the_authors_network(name: str) -> None:
    golden = reference("dwnet", name)
    network = network_of("dwnet", name, name.removesuffix("_damped"))
    outputs: dict[str, Tensor] = {}
    modules = {"stem": network.stem, "norm": network.norm}
    for stage, module in enumerate(network.stages):
        modules[f"mix{stage}"] = module.blocks[0].mixing
        modules[f"stage{stage}"] = module.blocks
        if stage:
            modules[f"stage{stage - 1}down"] = module.downsample

    with torch.inference_mode(), recording(modules, outputs):
        logits = network(input_for())

    # In the order of the forward pass, so that a failure names the first part that differs.
    for part in outputs:
        assert_summary(golden, part, outputs[part] if part.startswith("mix") else flat(outputs[part]))
    assert relative_error(logits, golden["logits"]) <= TOLERANCE


@pytest.mark.parametrize(
    "name",
    [
        "dwnet_tiny",
        "dynamic_dwnet_tiny_damped",
        pytest.param("dwnet_base", marks=pytest.mark.slow),
        pytest.param("dynamic_dwnet_base_damped", marks=pytest.mark.slow),
    ],
)
def test_detection_pyramid_equals_the_authors(name: str) -> None:
    golden = reference("dwnet", f"det_{name}")
    for index, feature_map in enumerate(detection_maps("dwnet", f"det_{name}", name.removesuffix("_damped"))):
        assert_summary(golden, f"out{index}", feature_map)


@pytest.mark.parametrize(
    ("name", "mixer", "options"),
    [
        ("depthwise", "depthwise_conv", {}),
        ("dynamic", "dynamic_depthwise_conv", {}),
        ("inhomogeneous", "inhomogeneous_dynamic_depthwise_conv", {"group_channels": 2}),
    ],
)
def test_mixing_layer_equals_the_authors(name: str, mixer: str, options: dict[str, int]) -> None:
    theirs = {
        "conv0": "pointwise1",
        "bn0": "norm1",
        "conv.conv1.0": "mixer.conv1",
        "conv.conv1.1": "mixer.bn",
        "conv.conv2.0": "mixer.conv2",
        "conv": "mixer.dwconv" if name == "depthwise" else "mixer",
        "bn": "norm2",
        "conv2": "pointwise2",
        "bn2": "norm3",
    }
    golden = reference("dwnet", f"mixer_block_{name}")
    layer = MixingLayer(64, build_mixer(mixer, 64, (14, 14), projection=False, **options)).double().eval()
    own = layer.state_dict()
    for key, tensor in state_dict_for(description("dwnet", f"mixer_block_{name}")["manifest"]).items():
        prefix = next(prefix for prefix in theirs if key.startswith(f"{prefix}."))
        our_key = theirs[prefix] + key.removeprefix(prefix)
        own[our_key].copy_(tensor.reshape(own[our_key].shape))

    image = input_for((1, 64, 14, 14)).requires_grad_()
    output = layer(channels_last(image))
    (gradient,) = torch.autograd.grad(output.square().sum() / 2, image)

    assert relative_error(output, golden["output"]) <= TOLERANCE
    assert relative_error(gradient, golden["grad_input"]) <= TOLERANCE


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_the_authors(name: str) -> None:
    assert parameters(on_meta(name)) == PARAMETERS[name]


@pytest.mark.parametrize("name", DETECTION_PARAMETERS)
def test_parameters_of_the_detection_backbone_are_as_many_as_the_authors(name: str) -> None:
    assert parameters(on_meta(name, num_classes=0, options=DETECTION)) == DETECTION_PARAMETERS[name]


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("dynamic_dwnet_tiny", dim=32, depths=(1, 1, 1, 1), num_classes=10).double().eval()


@torch.inference_mode()
def test_image_is_padded_to_whole_patches_at_the_bottom_and_the_right(small: nn.Module) -> None:
    image = input_for((2, 3, 61, 42))
    padded = torch.zeros(2, 3, 64, 44, dtype=image.dtype)
    padded[..., :61, :42] = image
    torch.testing.assert_close(small(image), small(padded))


def test_merging_takes_the_four_phases_column_by_column_and_pads_odd_sizes() -> None:
    merging = PatchMerging(4).double()
    x = input_for((1, 3, 5, 4))
    padded = torch.zeros(1, 4, 6, 4, dtype=x.dtype)
    padded[:, :3, :5] = x
    neighbours = torch.cat([padded[:, 2, 4], padded[:, 3, 4], padded[:, 2, 5], padded[:, 3, 5]], dim=-1)
    torch.testing.assert_close(merging(x)[:, 1, 2], merging.reduction(merging.norm(neighbours)))


def test_detection_blocks_see_padding_that_classification_blocks_do_not() -> None:
    """Global pooling of the dynamic mixer averages the padding in, as in the authors' detection backbone."""
    torch.manual_seed(0)
    arguments = {"dim": 32, "depths": (1, 1, 1, 1), "num_classes": 0}
    detection = timm.create_model("dynamic_dwnet_tiny", **arguments, **DETECTION).double().eval()
    plain = timm.create_model("dynamic_dwnet_tiny", **arguments).double().eval()
    plain.load_state_dict(detection.state_dict(), strict=False)
    with torch.inference_mode():
        for side, equal in ((32, False), (28, True)):
            x = channels_last(input_for((1, 32, side, side)))
            same = torch.allclose(detection.stages[0](x), plain.stages[0](x), rtol=1e-9)
            assert same == equal


@pytest.mark.parametrize("name", ["dwnet_tiny", "dynamic_dwnet_tiny", "i_dynamic_dwnet_tiny"])
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    options = {"mixer_options": {"group_channels": (4, 8, 16, 32)}} if name.startswith("i_") else {}
    network = timm.create_model(name, dim=32, depths=(1, 1, 2, 1), num_classes=10, drop_path_rate=0, **options)
    network(torch.randn(4, 3, 50, 70)).logsumexp(1).sum().backward()
    assert [key for key, parameter in network.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize(
    ("name", "options", "given", "rate"),
    [
        ("dwnet_base", {}, None, 0.5),
        ("dwnet_base", DETECTION, None, 0.3),
        ("dynamic_dwnet_tiny", DETECTION, None, 0.2),
        ("dwnet_base", DETECTION, 0.1, 0.1),
        ("dwnet_base", DETECTION, 0.0, 0.0),
    ],
)
def test_the_last_block_is_dropped_as_often_as_its_authors_did(name, options, given, rate) -> None:
    last = on_meta(name, options=options, drop_path_rate=given).stages[3].blocks[-1]
    assert getattr(last.drop_path, "drop_prob", 0.0) == pytest.approx(rate)


def test_drop_path_grows_linearly_over_all_blocks() -> None:
    network = on_meta("dwnet_base")
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in network.stages for block in stage.blocks]
    assert rates == pytest.approx(torch.linspace(0, 0.5, 24).tolist())


def test_initialisation_is_the_authors() -> None:
    torch.manual_seed(0)
    network = timm.create_model("i_dynamic_dwnet_tiny", depths=(1, 1, 1, 1))
    block = network.stages[3].blocks[0]
    for linear in (network.stages[3].downsample.reduction, block.mlp.fc1, block.mlp.fc2, network.head):
        assert float(linear.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
        assert linear.bias is None or not linear.bias.any()
    # The authors' convolutions (ours are linear in generators) keep PyTorch's default: uniform up to 1 / sqrt(fan-in).
    for convolution in (network.stem.proj, block.mixing.pointwise1, block.mixing.mixer.conv1, block.mixing.mixer.conv2):
        bound = convolution.weight[0].numel() ** -0.5
        assert float(convolution.weight.detach().abs().max()) == pytest.approx(bound, rel=0.02)
        assert float(convolution.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.02)


def test_a_mixer_or_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="unknown mixer 'depthwise'"):
        timm.create_model("dwnet_tiny", mixer="depthwise")
    with pytest.raises(ValueError, match="no option 'heads'"):
        timm.create_model("dwnet_tiny", mixer_options={"heads": (1, 2, 3, 4)})


def test_a_static_checkpoint_is_refused_by_a_dynamic_network_and_the_other_way_round() -> None:
    static, dynamic = (
        {key: torch.zeros(()).expand(shape) for key, shape in description("dwnet", name)["manifest"].items()}
        for name in ("dwnet_tiny", "dynamic_dwnet_tiny")
    )
    with pytest.raises(CheckpointError, match=r"dwnet_tiny: layers\.0\.blocks\.0\.attn2conv\.conv\.weight is missing"):
        convert("dwnet_tiny", dynamic)
    with pytest.raises(CheckpointError, match=r"dynamic_dwnet_tiny: .*attn2conv\.conv\.conv1\.weight is missing"):
        convert("dynamic_dwnet_tiny", static)
    with pytest.raises(CheckpointError, match=r"dwnet_base: patch_embed\.proj\.weight has shape \(96, 3, 4, 4\)"):
        convert("dwnet_base", static)


def test_a_generator_of_another_shape_is_refused() -> None:
    official = official_state_dict("dwnet", "i_dynamic_dwnet_tiny")
    key = "layers.0.blocks.0.attn2conv.conv.conv2.0.weight"
    with pytest.raises(CheckpointError, match=rf"{key} has shape \(1568, 24\)"):
        convert("i_dynamic_dwnet_tiny", official | {key: official[key].flatten(1)})


def test_weights_move_between_the_layouts_without_copies(small: nn.Module) -> None:
    """Maps stay contiguous as B, H, W, C from block to block."""
    outputs: dict[str, Tensor] = {}
    with torch.inference_mode(), recording({"block": small.stages[1].blocks}, outputs):
        small.float()(torch.randn(1, 3, 64, 64))
    small.double()
    assert outputs["block"].is_contiguous()
    assert channels_first(outputs["block"]).is_contiguous(memory_format=torch.channels_last)
