"""The inference form of every mixer and network: the same numbers, frozen, and made of what the network is now."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from architectures.inference import inference_form
from mixers import Mixer
from mixers.kernels import linear
from mixers.kernels.frozen import KeepsWhenFrozen, Kept

from .small import SMALL, images, small_network, unified


@pytest.fixture(autouse=True)
def _onednn_whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_MACS", 0)


MERGED = [
    ("large_kernel_conv", {}),
    ("large_kernel_conv", {"decomposed": True}),
    ("linear_attention", {"feature_map": "relu"}),
]
"""Mixers whose sums are others in the inference form, with branches and norms in one."""


@pytest.mark.parametrize("name", [name for name in SMALL if (name, {}) not in MERGED])
@torch.no_grad()
def test_it_answers_as_the_network_does_bit_for_bit(name: str) -> None:
    network = small_network(name).eval()
    form = inference_form(network)
    keys, memory = list(network.state_dict()), [parameter.data_ptr() for parameter in network.parameters()]
    for x in (images(3), images(1), images(2, side=96), images(3)):
        want = network(x)
        assert torch.equal(form(x), want)
        assert torch.equal(form(x), want)
    with torch.inference_mode():
        assert torch.equal(form(x), want)
    assert list(network.state_dict()) == keys
    assert [parameter.data_ptr() for parameter in form.parameters()] == memory
    assert not any(parameter.requires_grad for parameter in form.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    keeping = [module for module in network.modules() if isinstance(module, KeepsWhenFrozen)]
    assert not any(isinstance(module.keep, Kept) for module in keeping)
    assert all(isinstance(module.keep, Kept) for module in form.modules() if isinstance(module, KeepsWhenFrozen))


@pytest.mark.parametrize(("name", "options"), MERGED)
@torch.no_grad()
def test_it_answers_as_the_network_does_with_branches_merged(name: str, options: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = unified(name, **options).train()
    network(images(8))  # so that the norms have something to merge
    network.eval()
    form = inference_form(network)
    for x in (images(3), images(2, side=96)):
        want = network(x)
        for _ in range(2):
            torch.testing.assert_close(form(x), want, rtol=1e-4, atol=1e-4)
    assert norms_in_mixers(network)
    assert not norms_in_mixers(form)
    assert not any(parameter.requires_grad for parameter in form.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


def norms_in_mixers(network: nn.Module) -> list[nn.Module]:
    mixers = [module for module in network.modules() if isinstance(module, Mixer)]
    return [part for mixer in mixers for part in mixer.modules() if isinstance(part, nn.BatchNorm2d)]


def test_it_cannot_be_trained() -> None:
    network = small_network("shifted_window")
    with pytest.raises(ValueError, match=r"call network.eval\(\) first"):
        inference_form(network)
    form = inference_form(network.eval())
    assert form.eval() is form
    assert not form(images(2)).requires_grad
    for attempt in (form.train, lambda: form.load_state_dict(form.state_dict())):
        with pytest.raises(RuntimeError, match="an inference form is frozen: change the network that it was made of"):
            attempt()
    network.train()(images(2)).sum().backward()
    assert all(parameter.grad is None for parameter in form.parameters())


@torch.no_grad()
def test_moved_or_cast_it_prepares_again() -> None:
    network = small_network("shifted_window").eval()
    form = inference_form(network)
    form(images(2))
    want = copy.deepcopy(network).bfloat16().float()(images(2))
    assert torch.equal(form.bfloat16().float()(images(2)), want)
    exact = copy.deepcopy(network).double()(images(2).double())
    assert torch.equal(inference_form(network).double()(images(2).double()), exact)
    assert next(network.parameters()).dtype == torch.float32


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda form: pickle.loads(pickle.dumps(form))])
@torch.no_grad()
def test_it_is_copied_and_pickled(copied) -> None:
    form = inference_form(small_network("shifted_window").eval())
    want = form(images(2))
    assert torch.equal(copied(form)(images(2)), want)


@torch.no_grad()
def test_it_works_under_autocast_and_compiled() -> None:
    block = small_network("halo query-free").stages[0].blocks[0].eval()
    form, x = inference_form(block), torch.randn(2, 16, 16, 16)
    form(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(form(x), block(x))
    torch.compiler.reset()
    compiled = torch.compile(form, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), block(x), rtol=1e-4, atol=1e-5)


def listen(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    return layer


class LowRank(nn.Module):
    """As libraries for fine-tuning wrap a layer."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = layer
        self.down = nn.Linear(layer.in_features, 2, bias=False)
        self.up = nn.Linear(2, layer.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + self.up(self.down(x))


def replace_forward(layer: nn.Module) -> nn.Module:
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x)
    return layer


CHANGES = {
    "hook": listen,
    "wrapper": LowRank,
    "another layer": lambda layer: nn.Linear(layer.in_features, layer.out_features),
    "another forward": replace_forward,
    "pruned": lambda layer: prune.random_unstructured(layer, "weight", amount=0.5),
    "weight norm": lambda layer: listen(parametrizations.weight_norm(layer)),
}


def plain(block: nn.Module, x: Tensor) -> Tensor:
    """A block by calls of its modules and nothing else."""
    x = x + block.drop_path(block.layer_scale1(block.mixer(block.norm1(x))))
    hidden = nn.functional.gelu(block.mlp.fc1(block.norm2(x)))
    return x + block.drop_path(block.layer_scale2(block.mlp.fc2(hidden)))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("part", ["mlp.fc1", "mlp.fc2", "mixer.qkv"])
def test_changed_layers_are_called(part: str, change: str) -> None:
    """With gradients, without, and in the inference form."""
    torch.manual_seed(0)
    network = small_network("shifted_window").eval()
    block = network.stages[0].blocks[1]
    x = torch.randn(2, 16, 16, 16, requires_grad=True)
    before = block(x).detach()
    parent, _, name = part.rpartition(".")
    parent = block.get_submodule(parent)
    setattr(parent, name, CHANGES[change](getattr(parent, name)).eval())
    want = plain(block, x)
    assert not torch.allclose(want, before, atol=1e-3)
    torch.testing.assert_close(block(x), want, rtol=1e-4, atol=1e-5)
    of_plain, of_block = (torch.autograd.grad(y.square().sum(), x)[0] for y in (want, block(x)))
    torch.testing.assert_close(of_block, of_plain, rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(block(x), want, rtol=1e-4, atol=1e-5)
        assert torch.equal(inference_form(network)(images(2)), network(images(2)))


class Doubled(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.inner(x)


@pytest.mark.parametrize("change", [listen, Doubled])
@pytest.mark.parametrize("part", ["mlp", "layer_scale1", "layer_scale2", "drop_path", "mixer"])
def test_changed_parts_of_blocks_are_called(part: str, change) -> None:
    network = small_network("shifted_window").eval()
    block = network.stages[0].blocks[1]
    x = torch.randn(2, 16, 16, 16)
    before = block(x)
    setattr(block, part, change(getattr(block, part)))
    want = x + block.drop_path(block.layer_scale1(block.mixer(block.norm1(x))))
    want = want + block.drop_path(block.layer_scale2(block.mlp(block.norm2(want))))
    assert not torch.allclose(want, before, atol=1e-3)
    torch.testing.assert_close(block(x), want, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(block(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_every_module_that_learns_is_called_when_somebody_listens(name: str) -> None:
    """None of them has its parameters read by others instead."""
    network = small_network(name).eval()
    learning = {path: module for path, module in network.named_modules() if module._parameters}
    called = set()
    for path, module in learning.items():
        module.register_forward_hook(lambda module, inputs, output, path=path: called.add(path))
    with torch.no_grad():
        network(images(1))
    assert called == learning.keys()


class Branches(Mixer):
    """Two branches that become one."""

    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        super().__init__(dim, resolution)
        self.first, self.second = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)

    def fuse(self) -> nn.Module:
        merged = nn.Linear(self.dim, self.dim)
        merged.weight = nn.Parameter(self.first.weight + self.second.weight)
        merged.bias = nn.Parameter(self.first.bias + self.second.bias)
        return merged

    def macs(self, resolution: tuple[int, int]) -> int:
        raise NotImplementedError

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        raise NotImplementedError


def test_a_mixer_says_what_becomes_of_it_unless_somebody_listens_inside() -> None:
    mixer = Branches(8, (4, 4))
    network, x = nn.Sequential(mixer).eval(), torch.randn(2, 4, 4, 8)
    form = inference_form(network)
    assert isinstance(form.network[0], nn.Linear)
    assert isinstance(network[0], Branches)
    torch.testing.assert_close(form(x), network(x))
    listen(mixer.second)
    assert isinstance(inference_form(network).network[0], Branches)
    torch.testing.assert_close(inference_form(network)(x), network(x))
