"""The formulas against numbers worked out by hand, and the refusals."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.complexity import Complexity, ComplexityError, FlopCountAnalysis, measure
from analysis.settings import CountingRule


class Call(nn.Module):
    """A network that is one function of a 1, 3, 8, 8 image, and of a weight if there is one."""

    def __init__(self, function, *weight_shape: int) -> None:
        super().__init__()
        self.function = function
        if weight_shape:
            self.weight = nn.Parameter(torch.zeros(weight_shape))

    def forward(self, image: Tensor) -> Tensor:
        return self.function(image, self.weight) if hasattr(self, "weight") else self.function(image)


def tokens(image: Tensor) -> Tensor:
    """1, 64, 3"""
    return image.flatten(2).transpose(1, 2)


COUNTED = {
    "convolution": (lambda x, w: F.conv2d(x, w, padding=1), (5, 3, 3, 3), {"convolution": 64 * 5 * 27}, 64 * 5),
    "strided": (lambda x, w: F.conv2d(x, w, stride=2), (5, 3, 2, 2), {"convolution": 16 * 5 * 12}, 16 * 5),
    "depth-wise": (lambda x, w: F.conv2d(x, w, groups=3), (3, 1, 3, 3), {"convolution": 36 * 27}, 36 * 3),
    "shared": (lambda x, w: F.conv2d(x, w.repeat(3, 1, 1, 1), groups=3), (1, 1, 3, 3), {"convolution": 36 * 27}, 108),
    "transposed": (lambda x, w: F.conv_transpose2d(x, w, stride=2), (3, 4, 2, 2), {"convolution": 64 * 48}, 256 * 4),
    "dynamic": (lambda x: F.conv2d(x, x[:, :, :3, :3]), (), {"dynamic_convolution": 36 * 27}, 36),
    "linear": (lambda x, w: F.linear(tokens(x), w), (7, 3), {"linear": 64 * 21}, 64 * 7),
    "matmul": (lambda x: tokens(x) @ x.flatten(2), (), {"matmul": 64 * 64 * 3}, 64 * 64),
    "broadcast": (lambda x, w: w @ x, (6, 8), {"matmul": 3 * 6 * 8 * 8}, 3 * 6 * 8),
    "bmm": (lambda x: torch.bmm(x[0], x[0]), (), {"matmul": 3 * 512}, 192),
    "baddbmm": (lambda x: torch.baddbmm(x[0], x[0], x[0]), (), {"matmul": 3 * 512}, 192),
    "einsum": (lambda x, w: torch.einsum("bchw,cd->bdhw", x, w), (3, 5), {"matmul": 64 * 15}, 64 * 5),
    "attention": (
        lambda x: F.scaled_dot_product_attention(tokens(x), tokens(x)[:, :10], tokens(x)[:, :10]),
        (),
        {"attention": 64 * 10 * (3 + 3)},
        64 * 3,
    ),
    "sampling": (
        lambda x: F.grid_sample(x, x[:, :2, :5, :6].permute(0, 2, 3, 1), align_corners=False),
        (),
        {"sampling": 3 * 30 * 4},
        0,
    ),
    "copied upsampling": (lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), (), {}, 0),
    "bilinear upsampling": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        (),
        {"upsample_bilinear2d": 4 * 3 * 16 * 16},
        0,
    ),
    "ellipsis": (lambda x, w: torch.einsum("...rc,rca->...ra", x, w), (8, 8, 5), {"matmul": 192 * 5}, 3 * 8 * 5),
    "sum of products": (lambda x, w: (x * w).sum(1), (3, 1, 1), {"weighted_sum": 192}, 64),
    "running sum": (lambda x, w: x.addcmul(x, w).addcmul(x, w), (3, 8, 8), {"weighted_sum": 2 * 192}, 192),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", COUNTED)
def test_an_operator_costs_what_is_worked_out_by_hand(name: str, device: str) -> None:
    function, weight_shape, by_op, activations = COUNTED[name]
    cost = measure(Call(function, *weight_shape).to(device), (8, 8)) if weight_shape else cost_of(function, device)
    assert cost.by_op == by_op
    assert cost.macs == sum(by_op.values())
    assert cost.activations == activations


def cost_of(function, device: str = "meta") -> Complexity:
    # Without parameters nothing tells the network's device.
    with torch.device(device):
        return measure(Call(function), (8, 8))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_sizes_are_plain_integers_while_tracing(device: str) -> None:
    seen = []

    def windows(image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        seen.append((height, width, len(image), image.size(1), image.numel(), image.ndim))
        return F.pad(image, (0, -width % 3, 0, -height % 3)).unfold(2, 3, 3) @ torch.zeros(3, 2, device=image.device)

    assert cost_of(windows, device).macs == 3 * 3 * 9 * 3 * 2
    assert all(type(size) is int for size in seen[0])


def test_an_operator_without_a_formula_is_refused_by_name_and_place() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 3, 1), Call(lambda x: torch.cdist(x, x)))
    with pytest.raises(ComplexityError, match=r"aten::cdist in 0\.1"):
        measure(nn.Sequential(inner, nn.ReLU()), (8, 8))


def test_an_operator_of_an_extension_is_refused_until_it_has_a_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.library._scoped_library("stmbench_test", "DEF") as library:
        library.define("scan(Tensor x) -> Tensor")
        library.impl("scan", lambda x: torch.empty_like(x), "Meta")
        network = Call(lambda x, w: torch.ops.stmbench_test.scan(x) * w, 1).to("meta")
        with pytest.raises(ComplexityError, match="stmbench_test::scan in the network itself"):
            measure(network, (8, 8))

        from analysis import op_macs

        formula = op_macs.handle("scan", lambda inputs, output: 7 * output.type().sizes()[1])
        monkeypatch.setitem(op_macs.HANDLES, "stmbench_test::scan", formula)
        assert measure(network, (8, 8)).by_op == {"scan": 21}


def test_an_einsum_whose_cost_depends_on_the_order_is_refused() -> None:
    with pytest.raises(ValueError, match="contract two at a time"):
        cost_of(lambda x: torch.einsum("bchw,bchw,bchw->b", x, x, x))


def test_a_sum_of_anything_but_products_is_free() -> None:
    assert cost_of(lambda x: x.sum() + (2 * x).sum(1) + (x + x).sum()).macs == 0


def test_what_is_free_is_listed_with_its_number_of_calls() -> None:
    cost = cost_of(lambda x: F.gelu(x + 1) + 1)
    assert (cost.macs, cost.activations) == (0, 0)
    assert cost.uncounted == {"aten::add": 2, "aten::gelu": 1}


def test_a_formula_that_the_second_counter_does_not_confirm_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis import op_macs

    halved = op_macs.handle("linear", lambda inputs, output: op_macs.linear_macs(inputs, output) // 2)
    monkeypatch.setitem(op_macs.HANDLES, "aten::linear", halved)
    with pytest.raises(ComplexityError, match=r"flop_counter 1344"):
        measure(Call(lambda x, w: F.linear(tokens(x), w), 7, 3), (8, 8))


def test_a_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    network[1].eval()
    before = [module.training for module in network.modules()]
    measure(network, (8, 8))
    assert [module.training for module in network.modules()] == before
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in network.modules())
    assert network[1].num_batches_tracked == 0


NETWORKS = ["vit_tiny_patch16_224", "convnext_atto", "pvt_v2_b0", "resnet18", "swin_tiny_patch4_window7_224"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_parts_of_a_network_are_disjoint_and_complete(name: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(name)
    for rule in CountingRule:
        cost = measure(network, (224, 224), rule=rule)
        assert sum(row.params for row in cost.by_stage) == cost.params
        assert sum(row.macs for row in cost.by_stage) == cost.macs == sum(cost.by_op.values())
        assert sum(row.activations for row in cost.by_stage) == cost.activations
        assert len(cost.by_stage) >= 5
        # Only the authors' rule counts the mean before the classifier, which may be the network's own.
        outside = sum(row.macs for row in cost.by_stage if row.name == "outside of these")
        assert outside <= (network.num_features * 7 * 7 if rule == CountingRule.authors else 0)


@pytest.mark.parametrize("name", ["convnext_atto", "resnet18", "pvt_v2_b0"])
def test_the_fvcore_rule_is_what_plain_fvcore_counts(name: str) -> None:
    # Plain fvcore cannot trace on the meta device and has no formula for fused attention.
    network = timm.create_model(name).eval()
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    plain = FlopCountAnalysis(network, (torch.zeros(1, 3, 64, 64),)).unsupported_ops_warnings(False)
    fused = timm.create_model(name).to("meta")
    assert measure(fused, (64, 64), rule=CountingRule.fvcore).macs == plain.total()


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_the_fvcore_rule_enlarges_maps_as_plain_fvcore_does(mode: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Upsample(scale_factor=2, mode=mode)).eval()
    plain = FlopCountAnalysis(network, (torch.zeros(1, 3, 10, 10),))
    assert plain.by_operator()[f"upsample_{mode}2d"] > 0
    for rule in (CountingRule.fvcore, CountingRule.authors):
        assert measure(network, (10, 10), rule=rule).macs == plain.total()
    products = plain.by_operator()["conv"] + plain.by_operator()["upsample_bilinear2d"]
    assert measure(network, (10, 10)).macs == products
