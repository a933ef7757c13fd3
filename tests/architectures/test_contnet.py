"""ConTNet: equal to the authors' code in float64 with either set of options, and what it promises beyond it."""

import pytest
import timm
import torch
from torch import Tensor, nn

from architectures import NetworkSpec, build_network
from architectures.channels_last import channels_first, channels_last
from architectures.checkpoints import CheckpointError, convert
from architectures.contnet import WindowAttention, WindowEncoder

from ..golden.fill import input_for
from .goldens import (
    TOLERANCE,
    assert_summary,
    network_of,
    official_state_dict,
    parameters,
    recording,
    reference,
    relative_error,
)

# The authors' flags use_avgdown, relative and pre_norm turned on; qkv_bias is on by default.
ALTERNATIVE = {"avg_down": True, "relative_position_bias": True, "pre_norm": True}
NAMES = {"contnet_tiny": "ConT-Ti", "contnet_small": "ConT-S", "contnet_medium": "ConT-M"}
PARAMETERS = {
    "contnet_tiny": (5_888_992, 5_885_550),
    "contnet_small": (10_103_400, 10_095_814),
    "contnet_medium": (19_536_936, 19_521_764),
    "contnet_base": (36_043_112, 36_014_110),
}


@pytest.mark.parametrize("options", [{}, ALTERNATIVE], ids=["default", "alternative"])
@pytest.mark.parametrize("network", NAMES)
def test_equals_the_authors_network(network: str, options: dict[str, bool]) -> None:
    name = NAMES[network] + ("_alt" if options else "")
    golden = reference("contnet", name)
    ours = network_of("contnet", name, network, **options)
    depth = 2 if network == "contnet_medium" else 1
    outputs: dict[str, Tensor] = {}
    modules: dict[str, nn.Module] = {"stem": ours.stem}
    for stage in range(4):
        # The authors' stages: their last block opens our next stage.
        blocks = [*ours.stages[stage].blocks][int(stage > 0) :]
        if stage < 3:
            blocks.append(ours.stages[stage + 1].blocks[0])
        assert len(blocks) == depth
        modules |= {
            f"ste1_{stage}": blocks[0].encoder1,
            f"ste2_{stage}": blocks[0].encoder2,
            f"stage{stage}": blocks[-1],
        }

    with torch.inference_mode(), recording(modules, outputs):
        logits = ours(input_for())

    # In the order of the forward pass, so that a failure names the first part that differs.
    for part, output in outputs.items():
        assert_summary(golden, part, channels_first(output))
    assert relative_error(logits, golden["logits"]) <= TOLERANCE


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_the_authors(name: str) -> None:
    with torch.device("meta"):
        default, alternative = (build_network(NetworkSpec(name, options=options)) for options in ({}, ALTERNATIVE))
    assert (parameters(default), parameters(alternative)) == PARAMETERS[name]


def plain_attention(attention: WindowAttention, x: Tensor) -> Tensor:
    """Window by window and head by head, without padding: the pixels that a window has are all there is."""
    side, heads = attention.window_size, attention.num_heads
    width = x.shape[-1] // heads
    out = torch.empty_like(x)
    for top in range(0, x.shape[1], side):
        for left in range(0, x.shape[2], side):
            window = x[:, top : top + side, left : left + side]
            batch, rows, columns, dim = window.shape
            query, key, value = attention.qkv(window.reshape(batch, -1, dim)).split(dim, dim=-1)
            places = [divmod(token, columns) for token in range(rows * columns)]
            mixed = []
            for head in range(heads):
                of_head = slice(head * width, (head + 1) * width)
                scores = query[..., of_head] @ key[..., of_head].transpose(1, 2) * width**-0.5
                if attention.relative_position_bias_table is not None:
                    for index, (row, column) in enumerate(places):
                        for other, (other_row, other_column) in enumerate(places):
                            offset = (row - other_row + side - 1) * (2 * side - 1) + column - other_column + side - 1
                            scores[:, index, other] += attention.relative_position_bias_table[offset, head]
                mixed.append(scores.softmax(-1) @ value[..., of_head])
            out[:, top : top + side, left : left + side] = attention.proj(torch.cat(mixed, -1)).reshape(window.shape)
    return out


@torch.no_grad()
@pytest.mark.parametrize("relative_position_bias", [False, True])
@pytest.mark.parametrize("resolution", [(6, 9), (7, 4), (2, 1)])
def test_attention_never_sees_padding(resolution: tuple[int, int], relative_position_bias: bool) -> None:
    torch.manual_seed(0)
    attention = WindowAttention(
        8, 2, 3, qkv_bias=True, relative_position_bias=relative_position_bias, dropout=0.0
    ).double()
    if relative_position_bias:
        nn.init.normal_(attention.relative_position_bias_table)
    x = input_for((2, *resolution, 8))
    torch.testing.assert_close(attention(x), plain_attention(attention, x))


@torch.no_grad()
def test_position_is_the_same_in_every_window_and_row_comes_before_column() -> None:
    encoder = WindowEncoder(
        4, 8, 1, 3, qkv_bias=True, pre_norm=True, relative_position_bias=False, dropout=0.0, drop_path=0.0
    ).double()
    nn.init.normal_(encoder.row_position)
    nn.init.normal_(encoder.column_position)
    nn.init.zeros_(encoder.attn.proj.weight)
    nn.init.zeros_(encoder.attn.proj.bias)
    nn.init.zeros_(encoder.mlp.fc2.weight)
    nn.init.zeros_(encoder.mlp.fc2.bias)
    x = input_for((1, 5, 7, 4))
    added = encoder(x) - x
    for row in range(5):
        for column in range(7):
            wanted = torch.cat([encoder.row_position[row % 3, 0], encoder.column_position[0, column % 3]])
            torch.testing.assert_close(added[0, row, column], wanted)


@pytest.mark.parametrize("options", [{}, ALTERNATIVE], ids=["default", "alternative"])
def test_every_parameter_learns_at_a_size_that_windows_do_not_divide(options: dict[str, bool]) -> None:
    torch.manual_seed(0)
    network = timm.create_model("contnet_medium", dim=16, hidden_dims=(16, 24, 32, 40), num_classes=10, **options)
    network(torch.randn(2, 3, 75, 110)).logsumexp(1).sum().backward()
    assert [key for key, parameter in network.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize("options", [{}, ALTERNATIVE], ids=["default", "alternative"])
def test_pyramid_offers_the_deepest_map_of_each_stride(options: dict[str, bool]) -> None:
    pyramid = timm.create_model("contnet_medium", features_only=True, **options).eval()
    outputs: dict[str, Tensor] = {}
    deepest = {str(index): pyramid.model.stages[index].blocks[-1] for index in range(4)}
    with torch.inference_mode(), recording(deepest, outputs):
        maps = pyramid(torch.randn(1, 3, 75, 110))
    assert [tuple(feature_map.shape[1:]) for feature_map in maps] == [
        (64, 19, 28),
        (128, 10, 14),
        (256, 5, 7),
        (1024, 3, 4),
    ]
    assert pyramid.feature_info.reduction() == [4, 8, 16, 32]
    for index, feature_map in enumerate(maps):
        torch.testing.assert_close(channels_last(feature_map), outputs[str(index)])


def test_options_change_only_what_they_name() -> None:
    def keys(**options: bool) -> set[str]:
        with torch.device("meta"):
            return set(build_network(NetworkSpec("contnet_tiny", options=options)).state_dict())

    default = keys()
    biases = {f"stages.{stage}.blocks.0.encoder{e}.attn.qkv.bias" for stage in (1, 2, 3) for e in (1, 2)}
    assert default - keys(qkv_bias=False) == biases | {f"stages.3.blocks.1.encoder{e}.attn.qkv.bias" for e in (1, 2)}
    assert keys(pre_norm=True) == default
    assert {key.rpartition(".")[2] for key in default - keys(relative_position_bias=True)} == {
        "row_position",
        "column_position",
    }
    # The last block has no stride, so there is nothing to average.
    assert default - keys(avg_down=True) == {f"stages.{stage}.blocks.0.shortcut.weight" for stage in (1, 2, 3)}


@pytest.mark.parametrize(
    "impossible",
    [{"num_heads": (1, 2, 4, 7)}, {"depths": (1, 0, 1, 1)}, {"dim": 31}, {"window_sizes": ((0, 7),) * 4}],
    ids=lambda options: next(iter(options)),
)
def test_an_impossible_option_is_named(impossible: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(impossible))}="):
        timm.create_model("contnet_tiny", **impossible)


def test_dropout_and_stochastic_depth_are_where_they_were_published() -> None:
    with torch.device("meta"):
        base, stochastic = (
            build_network(NetworkSpec("contnet_base", drop_path_rate=drop_path_rate)) for drop_path_rate in (None, 0.3)
        )
    blocks = [block for stage in base.stages for block in stage.blocks]
    rates = [(block.encoder1.attn.dropout, block.encoder2.mlp.drop2.p, block.dropout.p) for block in blocks]
    assert rates == [(0.0, 0.0, 0.0)] * 7 + [(0.1, 0.1, 0.0)] * 8 + [(0.1, 0.1, 0.2)]
    drop_path = [block.encoder1.drop_path for stage in stochastic.stages for block in stage.blocks]
    assert [getattr(module, "drop_prob", 0.0) for module in drop_path] == pytest.approx(
        torch.linspace(0, 0.3, 16).tolist()
    )


def test_initialisation_is_the_authors() -> None:
    torch.manual_seed(0)
    network = timm.create_model("contnet_small")
    relative = timm.create_model("contnet_small", relative_position_bias=True)
    block = network.stages[3].blocks[0]
    for convolution in (network.stem.conv, block.conv, block.shortcut):
        fan_out = convolution.weight[:, 0].numel()
        assert float(convolution.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
    for linear in (block.encoder1.attn.qkv, block.encoder2.mlp.fc1, network.head):
        assert float(linear.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
        assert not linear.bias.any()
    assert not block.encoder1.row_position.any()
    assert not block.encoder1.column_position.any()
    table = relative.stages[3].blocks[0].encoder2.attn.relative_position_bias_table
    assert float(table.detach().std()) == pytest.approx(0.02, rel=0.1)


def test_a_checkpoint_of_a_distributed_run_is_taken_out_of_its_container() -> None:
    official = official_state_dict("contnet", "ConT-Ti")
    saved = {"model": {f"module.{key}": value for key, value in official.items()}, "epoch": 7, "best_acc1": 74.9}
    converted, plain = convert("contnet_tiny", saved), convert("contnet_tiny", official)
    assert converted.keys() == plain.keys()
    assert all(torch.equal(converted[key], plain[key]) for key in plain)


def test_a_checkpoint_of_another_network_or_of_other_options_is_refused() -> None:
    official = official_state_dict("contnet", "ConT-S")
    with pytest.raises(CheckpointError, match=r"contnet_medium: layer1\.ConTBlock0\.out_conv\.conv\.weight has shape"):
        convert("contnet_medium", official)
    with pytest.raises(CheckpointError, match=r"contnet_tiny: layer0\.conv\.conv\.weight has shape \(64, 3, 7, 7\)"):
        convert("contnet_tiny", official)
    with pytest.raises(CheckpointError, match=r"attn\.relative_position_bias_table is missing .*pe\.0 is unknown"):
        convert("contnet_small", official, options={"relative_position_bias": True})
    with pytest.raises(CheckpointError, match=r"layer2\.ConTBlock0\.downsample\.gamma is unknown"):
        convert("contnet_small", official | {"layer2.ConTBlock0.downsample.gamma": torch.ones(1)})


def test_masks_that_are_kept_follow_the_table_and_the_size():
    def attention() -> WindowAttention:
        torch.manual_seed(0)
        layer = WindowAttention(8, 2, 7, qkv_bias=True, relative_position_bias=True, dropout=0.0)
        nn.init.normal_(layer.relative_position_bias_table)
        return layer.eval()

    layer, changed = attention(), attention()
    with torch.no_grad():
        changed.relative_position_bias_table.mul_(-1)
        for size in ((7, 14), (8, 9), (14, 7)):
            x = torch.randn(1, *size, 8)
            layer(x)
            layer.relative_position_bias_table.mul_(-1)
            assert torch.equal(layer(x), changed(x))
            layer.relative_position_bias_table.mul_(-1)
