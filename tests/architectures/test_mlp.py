"""The chunked MLP equals the plain one in outputs and all derivatives, whatever the chunks."""

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from architectures import mlp
from architectures.mlp import MLP, chunks, plain_mlp
from mixers.kernels import linear


@pytest.fixture(autouse=True)
def _onednn_whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_MACS", 0)


@pytest.fixture(params=[1, 7, 64, 2**20], ids=lambda chunk: f"chunk {chunk}")
def _chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hidden values at a time: less than a position, one and a half, a few positions, everything."""
    monkeypatch.setattr(mlp, "CHUNK", request.param)


def module_and_input(*shape: int) -> tuple[MLP, Tensor]:
    torch.manual_seed(0)
    return MLP(shape[-1], 4), torch.randn(shape)


@pytest.mark.usefixtures("_chunk")
@pytest.mark.parametrize("shape", [(2, 3, 5, 6), (1, 1, 1, 6)])
def test_equals_the_plain_one_with_gradients(shape: tuple[int, ...]) -> None:
    module, x = module_and_input(*shape)
    parameters = list(module.parameters())
    leaves = [x.requires_grad_(), *parameters]
    wanted = plain_mlp(*leaves)
    output = module(x)
    torch.testing.assert_close(output, wanted)
    ours = torch.autograd.grad(output.square().sum(), leaves)
    for gradient, plain in zip(ours, torch.autograd.grad(wanted.square().sum(), leaves), strict=True):
        torch.testing.assert_close(gradient, plain, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(module(x), wanted)


@pytest.mark.usefixtures("_chunk")
def test_gradient_checkpointing() -> None:
    """It hands each saved tensor out once."""
    module, x = module_and_input(2, 3, 5, 6)
    leaves = [x.requires_grad_(), *module.parameters()]
    plain = torch.autograd.grad(module(x).square().sum(), leaves)
    checkpointed = torch.autograd.grad(checkpoint(module, x, use_reentrant=False).square().sum(), leaves)
    torch.testing.assert_close(checkpointed, plain)


@pytest.mark.usefixtures("_chunk")
def test_second_derivatives() -> None:
    module, x = module_and_input(2, 3, 5, 6)
    leaves = [x.requires_grad_(), *module.parameters()]

    def second(output: Tensor) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(output.pow(3).sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(gradient.square().sum() for gradient in first), leaves)

    for ours, plain in zip(second(module(x)), second(plain_mlp(*leaves)), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-4)


def test_frozen_parts_get_no_gradient() -> None:
    module, x = module_and_input(2, 3, 5, 6)
    module.fc1.weight.requires_grad_(False)
    module(x).sum().backward()
    assert module.fc1.weight.grad is None
    assert module.fc2.weight.grad is not None


def test_no_positions() -> None:
    module, x = module_and_input(0, 3, 5, 6)
    assert module(x.requires_grad_()).shape == x.shape
    module(x).sum().backward()
    assert x.grad.shape == x.shape


def test_one_hidden_map_of_many_chunks_is_kept_for_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "CHUNK", 64)
    module, x = module_and_input(2, 8, 8, 6)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        module(x)
    assert sum(len(tensor) for tensor in kept if tensor.shape[1:] == (24,) and tensor is not module.fc2.weight) == 128


@pytest.mark.parametrize(("rows", "hidden"), [(0, 5), (1, 1), (100, 2**20), (25088, 384), (12345, 678)])
def test_chunks_cover_every_row_once(rows: int, hidden: int) -> None:
    covered = [row for chunk in chunks(rows, hidden) for row in range(rows)[chunk]]
    assert covered == list(range(rows))
