"""What is kept from one forward to the next is never stale, and never kept where it could be."""

import copy
import pickle
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mixers import Mixer, build_mixer
from mixers.kernels.local_attention import LocalAttention
from mixers.kernels.remembered import Remembered

RESOLUTION = (14, 14)


def swin(implementation: str, seed: int = 0) -> Mixer:
    torch.manual_seed(seed)
    mixer = build_mixer("shifted_window", 16, RESOLUTION, num_heads=2, shift_size=3).eval()
    nn.init.normal_(mixer.relative_position_bias_table)
    mixer.attention.implementation = implementation
    return mixer


def image(rows: int = 14, columns: int = 14) -> Tensor:
    return torch.randn(1, rows, columns, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["cpp", "reference"])
def mixer(request: pytest.FixtureRequest) -> Mixer:
    return swin(request.param)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one each time a bias is built from the table."""
    calls: list[str] = []
    for name in ("_bias_by_key", "_fixed_logits"):
        original = getattr(LocalAttention, name)

        def counted(self: LocalAttention, *arguments: object, name=name, original=original) -> Tensor | None:
            calls.append(name)
            return original(self, *arguments)

        monkeypatch.setattr(LocalAttention, name, counted)
    return calls


def fresh_output(mixer: Mixer, x: Tensor) -> Tensor:
    """Of a mixer that remembers nothing."""
    other = swin(mixer.attention.implementation, seed=9).to(x.dtype)
    other.load_state_dict(mixer.state_dict())
    return other(x)


def test_bias_is_built_once_in_eval(mixer: Mixer, built: list[str]) -> None:
    with torch.no_grad():
        outputs = [mixer(image()) for _ in range(3)]
    assert len(built) == 1
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    with torch.inference_mode():
        mixer(image())
    assert len(built) == 1


def change_in_place(mixer: Mixer) -> None:
    with torch.no_grad():
        mixer.relative_position_bias_table.mul_(-1)


def take_optimizer_step(mixer: Mixer) -> None:
    optimizer = torch.optim.AdamW(mixer.parameters(), lr=0.5)
    with torch.enable_grad():
        mixer(image()).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def load_others(mixer: Mixer) -> None:
    mixer.load_state_dict(swin("auto", seed=5).state_dict())


def assign_others(mixer: Mixer) -> None:
    mixer.load_state_dict(swin("auto", seed=5).state_dict(), assign=True)


def replace_parameter(mixer: Mixer) -> None:
    mixer.relative_position_bias_table = nn.Parameter(torch.randn_like(mixer.relative_position_bias_table))


def replace_data(mixer: Mixer) -> None:
    mixer.relative_position_bias_table.data = torch.randn_like(mixer.relative_position_bias_table)


@pytest.mark.parametrize(
    "change", [change_in_place, take_optimizer_step, load_others, assign_others, replace_parameter, replace_data]
)
def test_changed_tables_are_seen(mixer: Mixer, change: Callable[[Mixer], None]) -> None:
    with torch.no_grad():
        before = mixer(image())
        change(mixer)
        after = mixer(image())
        assert not torch.allclose(after, before, atol=1e-4)
        assert torch.equal(after, fresh_output(mixer, image()))


def test_another_size_and_dtype_are_seen(mixer: Mixer) -> None:
    with torch.no_grad():
        for size in ((14, 14), (7, 21), (9, 10), (14, 14)):
            assert torch.equal(mixer(image(*size)), fresh_output(mixer, image(*size)))
        mixer.double()
        assert torch.equal(mixer(image().double()), fresh_output(mixer, image().double()))


def test_training_after_eval_and_back(mixer: Mixer) -> None:
    with torch.inference_mode():
        before = mixer(image())
    mixer.train()
    mixer(image()).square().sum().backward()
    assert mixer.relative_position_bias_table.grad.abs().max() > 0
    with torch.no_grad():
        mixer.relative_position_bias_table -= mixer.relative_position_bias_table.grad
    with torch.inference_mode():
        after = mixer.eval()(image())
        assert not torch.allclose(after, before, atol=1e-4)
        assert torch.equal(after, fresh_output(mixer, image()))


def test_gradients_in_eval_reach_the_table(mixer: Mixer) -> None:
    with torch.no_grad():
        mixer(image())
    mixer(image()).sum().backward()
    assert mixer.relative_position_bias_table.grad.abs().max() > 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda mixer: pickle.loads(pickle.dumps(mixer))])
def test_copies_remember_for_themselves(mixer: Mixer, copied: Callable[[Mixer], Mixer]) -> None:
    with torch.no_grad():
        before = mixer(image())
        other = copied(mixer)
        assert torch.equal(other(image()), before)
        change_in_place(other)
        assert not torch.allclose(other(image()), before, atol=1e-4)
        assert torch.equal(mixer(image()), before)


def test_compiled_and_exported_programs_build_their_own(mixer: Mixer) -> None:
    mixer.attention.implementation = "auto"
    with torch.no_grad():
        mixer(image())
        torch.compiler.reset()
        compiled = torch.compile(mixer, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(image()), mixer(image()))
        exported = torch.export.export(mixer, (image(),))
        change_in_place(mixer)
        torch.testing.assert_close(compiled(image()), mixer(image()))
        torch.testing.assert_close(exported.module()(image()), mixer(image()))


def test_nothing_is_kept_of_tensors_without_numbers(mixer: Mixer) -> None:
    mixer.attention.implementation = "auto"
    with torch.no_grad(), torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        mixer(torch.empty(1, 14, 14, 16))
    with torch.device("meta"), torch.no_grad():
        build_mixer("shifted_window", 16, RESOLUTION, num_heads=2)(torch.empty(1, 14, 14, 16))
    with torch.no_grad():
        assert torch.equal(mixer(image()), fresh_output(mixer, image()))


def test_networks_built_in_inference_mode_do_not_say_when_they_change(built: list[str]) -> None:
    with torch.inference_mode():
        mixer = swin("cpp")
        before = mixer(image())
        mixer.relative_position_bias_table.mul_(-1)
        assert not torch.allclose(mixer(image()), before, atol=1e-4)
    assert len(built) == 2


def doubled(remembered: Remembered, source: nn.Parameter, factor: int = 2, *others: object) -> list[float]:
    with torch.no_grad():
        return remembered(lambda: source * factor, source, *others).tolist()


def test_the_source_is_not_kept_alive() -> None:
    remembered = Remembered()
    source = nn.Parameter(torch.ones(3))
    assert doubled(remembered, source) == [2, 2, 2]
    assert doubled(remembered, source, 3) == [2, 2, 2]
    assert doubled(remembered, source, 3, "another") == [3, 3, 3]
    state = weakref.ref(source)
    del source
    assert state() is None


def test_a_new_parameter_in_old_memory_is_seen() -> None:
    """The allocator may give a parameter the memory, and so the address, of one that is gone."""
    remembered = Remembered()
    memory = np.ones(3)
    first = nn.Parameter(torch.from_numpy(memory))
    assert doubled(remembered, first) == [2, 2, 2]
    memory[:] = 5
    second = nn.Parameter(torch.from_numpy(memory))
    assert (second.data_ptr(), second._version) == (first.data_ptr(), first._version)
    del first
    assert doubled(remembered, second) == [10, 10, 10]
