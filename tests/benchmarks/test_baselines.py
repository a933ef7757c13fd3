"""The straightforward networks compute what ours do: otherwise a comparison of their speeds would mean nothing."""

import pytest
import timm
import torch
from torch import Tensor, nn

import architectures  # noqa: F401  (registers the networks)
from architectures.checkpoints import convert
from benchmarks.baselines import BASELINES


def audible(network: nn.Module) -> nn.Module:
    """float64, with layer scales at which every branch counts."""
    generator = torch.Generator().manual_seed(0)
    network.double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter += noise * (0.3 if "gamma" in name else 0.02)
    return network


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_computes_what_the_network_does(name: str) -> None:
    """Outputs and gradients of a training step, with the same branches dropped; then outputs in eval mode."""
    torch.manual_seed(0)
    baseline = audible(BASELINES[name]())
    network = timm.create_model(name).double()
    network.load_state_dict(convert(name, baseline.state_dict()))
    images = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    targets = torch.randn(2, 1000, dtype=torch.float64)

    outputs = {}
    for which in (baseline, network):
        torch.manual_seed(1)
        outputs[which] = which.train()(images)
        (outputs[which] * targets).sum().backward()
    assert_close("output in training", outputs[network], outputs[baseline])
    gradients = {name: parameter.grad for name, parameter in baseline.named_parameters()}
    wanted = convert(name, {**baseline.state_dict(), **gradients})
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for key, parameter in network.named_parameters():
        # A shift in front of a batch norm has no gradient but rounding.
        assert_close(f"gradient of {key}", parameter.grad, wanted[key], at_least=1e-6 * largest)

    with torch.inference_mode():
        assert_close("output", network.eval()(images), baseline.eval()(images))


def assert_close(what: str, ours: Tensor, wanted: Tensor, at_least: float = 0.0) -> None:
    error = (ours - wanted).abs().max() / max(wanted.abs().max(), at_least)
    # Dynamic kernels and the batch norms around them amplify rounding, block after block.
    assert error <= 1e-6, f"{what} differs by {error:.1e}"
