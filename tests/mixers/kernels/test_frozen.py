"""What a frozen module keeps, and that nothing of it reaches the module that it was made of."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from mixers import Mixer, build_mixer
from mixers.kernels.frozen import KeepsWhenFrozen, Kept, frozen_copy
from mixers.kernels.local_attention import LocalAttention


def image(rows: int = 14, columns: int = 14) -> Tensor:
    return torch.randn(1, rows, columns, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["cpp", "reference"])
def mixer(request: pytest.FixtureRequest) -> Mixer:
    torch.manual_seed(0)
    mixer = build_mixer("shifted_window", 16, (14, 14), num_heads=2, shift_size=3, implementation=request.param).eval()
    nn.init.normal_(mixer.relative_position_bias_table)
    return mixer


def frozen(mixer: Mixer) -> Mixer:
    form = frozen_copy(mixer)
    form.attention = mixer.attention.fuse()
    return form


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


def test_an_ordinary_module_builds_its_bias_in_each_forward_and_a_frozen_one_once(
    mixer: Mixer, built: list[str]
) -> None:
    form = frozen(mixer)
    with torch.no_grad():
        want = mixer(image())
        assert torch.equal(mixer(image()), want)
        assert len(built) == 2
        assert all(torch.equal(form(image()), want) for _ in range(3))
    with torch.inference_mode():
        form(image())
    assert len(built) == 3


def test_another_size_is_another_mask(mixer: Mixer) -> None:
    form = frozen(mixer)
    with torch.no_grad():
        for size in ((14, 14), (7, 21), (9, 10), (14, 14)):
            assert torch.equal(form(image(*size)), mixer(image(*size)))


def test_a_table_that_is_computed_in_each_forward_is_never_stale(mixer: Mixer) -> None:
    """As in mixers of other people, whose tables may depend on the image."""
    form, x = mixer.attention.fuse(), image().unflatten(-1, (2, 8))
    with torch.no_grad():
        for factor in (1.0, 2.0):
            table = mixer.relative_position_bias_table * factor
            assert torch.equal(form(x, x, x, bias_table=table), mixer.attention(x, x, x, bias_table=table))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_keep_for_themselves(mixer: Mixer, copied) -> None:
    with torch.no_grad():
        form = frozen(mixer)
        want = form(image())
        other = copied(form)
        assert other.attention.keep is not form.attention.keep
        other.relative_position_bias_table.mul_(-1)  # before its first forward
        assert not torch.allclose(other(image()), want, atol=1e-4)
        assert torch.equal(form(image()), want)
        assert torch.equal(mixer(image()), want)


def test_compiled_and_exported_forms_hold_nothing_of_what_is_kept(mixer: Mixer) -> None:
    form = frozen(mixer)
    form.attention.implementation = "auto"
    with torch.no_grad():
        want = form(image())
        torch.compiler.reset()
        torch.testing.assert_close(torch.compile(form, backend="aot_eager", fullgraph=True)(image()), want)
        torch.testing.assert_close(torch.export.export(form, (image(),)).module()(image()), want)


def test_nothing_is_kept_of_tensors_without_numbers(mixer: Mixer) -> None:
    form = frozen(mixer)
    form.attention.implementation = "auto"
    with torch.no_grad():
        with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
            form(torch.empty(1, 14, 14, 16))
        torch.testing.assert_close(form(image()), mixer(image()))


class Scaled(KeepsWhenFrozen):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))
        self.inner = nn.Linear(3, 3)
        self.register_buffer("seen", torch.zeros(1))


def test_a_frozen_copy_shares_memory_and_nothing_else() -> None:
    module = Scaled()
    form = frozen_copy(module)
    assert form.gain.data_ptr() == module.gain.data_ptr()
    assert form.inner is module.inner
    assert (form.gain.requires_grad, form.training, module.training) == (False, False, True)
    form.inner, form.gain, form.seen, form.name = nn.Identity(), None, None, "copy"
    form.register_forward_hook(lambda *_: None)
    assert isinstance(module.inner, nn.Linear)
    assert module.gain.requires_grad
    assert module.seen is not None
    assert not module._forward_hooks
    assert not hasattr(module, "name")


def test_kept_is_asked_by_source_and_key() -> None:
    kept, source = Kept(), torch.ones(3)

    def doubled(source: Tensor, factor: int, *key: object) -> list[float]:
        return kept(lambda: source * factor, source, *key).tolist()

    assert doubled(source, 2) == [2, 2, 2]
    assert doubled(source, 3) == [2, 2, 2]
    assert doubled(source, 3, "another key") == [3, 3, 3]
    assert doubled(source.clone(), 4, "another key") == [4, 4, 4]
    kept.forget()
    assert doubled(source, 5) == [5, 5, 5]
