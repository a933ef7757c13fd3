"""Every mixer equals its plain pixel-by-pixel twin, in outputs and in all gradients, at any map size."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from mixers import MIXERS

from .cases import Case, random_map
from .plain import CASES, MAIN_CASES, OPTION_CASES, PLAIN

SIZES = (1, 5, 7, 8, 14, 15, 28)
OPTION_RESOLUTIONS = [(1, 1), (5, 8), (8, 1), (14, 7), (15, 9)]


def assert_equal_with_gradients(case: Case, rows: int, columns: int) -> None:
    mixer = case.build()
    x = random_map(rows, columns).requires_grad_()
    output = mixer(x)
    state = {**dict(mixer.named_parameters()), **dict(mixer.named_buffers())}
    plain = PLAIN[case.mixer]
    wanted = plain.function(state, x[0], **plain.built_for(case.resolution, case.options))[None]
    assert_close("output", output, wanted)

    cotangent = random_map(rows, columns, seed=2)
    leaves = {"input": x, **dict(mixer.named_parameters())}
    gradients = torch.autograd.grad(output, leaves.values(), cotangent)
    wanted_gradients = torch.autograd.grad(wanted, leaves.values(), cotangent)
    for name, gradient, wanted_gradient in zip(leaves, gradients, wanted_gradients, strict=True):
        nothing = torch.zeros_like(leaves[name])
        assert_close(
            f"gradient of {name}", nothing if gradient is None else gradient, or_else(wanted_gradient, nothing)
        )


def or_else(gradient: Tensor | None, nothing: Tensor) -> Tensor:
    return nothing if gradient is None else gradient


def assert_close(what: str, got: Tensor, wanted: Tensor) -> None:
    assert got.shape == wanted.shape, what
    difference = (got - wanted).abs().max().item()
    assert difference <= 1e-11 * max(1.0, wanted.abs().max().item()), f"{what} differs by {difference}"


def test_every_mixer_has_a_plain_twin() -> None:
    assert PLAIN.keys() == MIXERS.keys()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_parameter_is_idle(case: Case) -> None:
    """Otherwise the comparisons below would compare zeros."""
    mixer = case.build()
    mixer(random_map(17, 16).requires_grad_()).square().sum().backward()
    for name, parameter in mixer.named_parameters():
        assert parameter.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("case", MAIN_CASES, ids=str)
def test_equals_oracle_at_every_size(case: Case, rows: int) -> None:
    for columns in SIZES:
        assert_equal_with_gradients(case, rows, columns)


@pytest.mark.parametrize(("rows", "columns"), OPTION_RESOLUTIONS)
@pytest.mark.parametrize("case", OPTION_CASES, ids=str)
def test_equals_oracle_with_every_option(case: Case, rows: int, columns: int) -> None:
    assert_equal_with_gradients(case, rows, columns)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_equal_finite_differences(case: Case) -> None:
    mixer = case.build()
    names = [name for name, _ in mixer.named_parameters()]

    def output(x: Tensor, *values: Tensor) -> Tensor:
        return functional_call(mixer, dict(zip(names, values, strict=True)), (x,))

    x = random_map(5, 9).requires_grad_()
    assert torch.autograd.gradcheck(output, (x, *mixer.parameters()), fast_mode=True)


@pytest.mark.parametrize(
    ("name", "values_per_channel"),
    [("dynamic_depthwise_conv", 3), ("inhomogeneous_dynamic_depthwise_conv", 3 * 5 * 6)],
)
def test_training_mode_normalises_by_the_batch(name: str, values_per_channel: int) -> None:
    """With the batch's own statistics as running ones, eval mode computes what training mode does."""
    mixer = PLAIN[name].cases[0].build()
    x = random_map(5, 6, batch=3)
    before = mixer(x)
    mixer.train()
    mixer.bn.momentum = 1.0
    output = mixer(x)
    mixer.bn.running_var *= (values_per_channel - 1) / values_per_channel  # kept unbiased, used biased
    assert (output - before).abs().max() > 1e-3
    assert_close("output", mixer.eval()(x), output)


def test_dynamic_kernels_cannot_train_on_one_image() -> None:
    mixer = Case(mixer="dynamic_depthwise_conv").build().train()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        mixer(random_map(5, 6))
