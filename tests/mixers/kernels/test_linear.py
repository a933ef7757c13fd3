"""Linear layers through oneDNN: the numbers of `F.linear`, with its gradients, where oneDNN may run and elsewhere."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mixers.kernels import linear as module
from mixers.kernels.linear import Linear, linear, onednn_takes

SHAPES = [(5, 24), (2, 3, 4, 24), (0, 24), (1, 24)]


@pytest.fixture(autouse=True)
def _whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST_MACS", 0)


def tensors(*shape: int, bias: bool = True, dtype: torch.dtype = torch.float32) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(10, shape[-1], generator=generator, dtype=dtype)
    x = torch.randn(shape, generator=generator, dtype=dtype)
    return [x, weight, torch.randn(10, generator=generator, dtype=dtype) if bias else None]


def gradients(function: object, arguments: list[Tensor | None]) -> list[Tensor]:
    leaves = [None if tensor is None else tensor.detach().requires_grad_() for tensor in arguments]
    output = function(*leaves)
    present = [leaf for leaf in leaves if leaf is not None]
    return [output, *torch.autograd.grad(output.square().sum(), present)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_plain_layer_with_gradients(shape: tuple[int, ...], bias: bool) -> None:
    arguments = tensors(*shape, bias=bias)
    assert onednn_takes(*arguments)
    for ours, wanted in zip(gradients(linear, arguments), gradients(F.linear, arguments), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(linear(*arguments), F.linear(*arguments))


def test_input_may_be_strided_and_the_layer_frozen() -> None:
    x, weight, bias = tensors(6, 5, 24)
    strided = x.transpose(0, 1)
    torch.testing.assert_close(linear(strided, weight, bias), F.linear(strided, weight, bias))
    frozen = strided.detach().requires_grad_()
    linear(frozen, weight, bias).sum().backward()
    torch.testing.assert_close(frozen.grad, weight.sum(0).expand_as(frozen))
    weight.requires_grad_()
    linear(x, weight, bias).sum().backward()
    torch.testing.assert_close(weight.grad, x.sum((0, 1)).expand_as(weight))


def test_small_layers_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST_MACS", 5 * 24 * 10)
    assert onednn_takes(*tensors(5, 24))
    assert not onednn_takes(*tensors(4, 24))


def test_second_derivatives() -> None:
    def of_squares(function: object) -> list[Tensor]:
        leaves = [tensor.requires_grad_() for tensor in tensors(5, 24)]
        first = torch.autograd.grad(function(*leaves).pow(3).sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(gradient.square().sum() for gradient in first), leaves)

    for ours, wanted in zip(of_squares(linear), of_squares(F.linear), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-3)


def test_elsewhere_it_is_the_plain_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = tensors(5, 24)
    assert not onednn_takes(*tensors(5, 24, dtype=torch.float64))
    assert not onednn_takes(*(tensor.to("meta") for tensor in (x, weight, bias)))
    with monkeypatch.context() as switched_off:
        switched_off.setattr(torch.backends.mkldnn, "enabled", False)
        assert not onednn_takes(x, weight, bias)
    assert onednn_takes(x, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        assert not onednn_takes(x, weight, bias)
        assert linear(x, weight, bias).dtype == torch.bfloat16
    wanted = F.linear(x, weight, bias)
    torch.testing.assert_close(torch.func.vmap(linear, (0, None, None))(x, weight, bias), wanted)
    torch.testing.assert_close(torch.func.grad(lambda x: linear(x, weight, bias).sum())(x), weight.sum(0).expand(5, 24))
    exported = torch.export.export(Linear(24, 10), (x,))
    assert "aten.linear" in str(exported.graph)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated:FutureWarning")
def test_traces_hold_the_plain_layer() -> None:
    x, weight, bias = tensors(5, 24)
    traced = torch.jit.trace(lambda x: linear(x, weight, bias), (x,))
    assert "aten::linear" in str(traced.graph)


def test_products_are_counted() -> None:
    with FlopCounterMode(display=False) as counter:
        linear(*tensors(2, 3, 24))
    assert counter.get_total_flops() == 2 * 2 * 3 * 24 * 10


def test_layer_has_the_state_of_the_plain_one() -> None:
    torch.manual_seed(0)
    layer, plain = Linear(24, 10), nn.Linear(24, 10)
    layer.load_state_dict(plain.state_dict())
    x, _, _ = tensors(5, 24)
    torch.testing.assert_close(layer(x), plain(x))


@pytest.mark.parametrize("bias", [True, False])
def test_weights_in_onednns_order_serve_any_number_of_rows_bit_for_bit(bias: bool) -> None:
    layer = Linear(24, 10, bias=bias).eval()
    form = layer.fuse()
    with torch.no_grad():
        for rows in (5, 1, 700):
            x = torch.randn(rows, 24)
            assert torch.equal(form(x), layer(x))
            torch.testing.assert_close(form(x), F.linear(x, layer.weight, layer.bias))
        assert form.weight_for(x) is form.weight_for(x)
        assert layer.weight_for(x) is layer.weight


def test_layer_is_copied_and_pickled() -> None:
    layer, x = Linear(24, 10).eval(), torch.randn(5, 24)
    with torch.no_grad():
        wanted = layer(x)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(other(x), wanted)
