"""Costs and reach of a mixer that has no closed form for them, found by running it."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

DRAWS = 8
# A gradient below this share of the largest is rounding: a query whose only key gets all attention leaves 1e-17.
ROUNDING = 1e-12


def counted_macs(mixer: nn.Module, resolution: tuple[int, int]) -> int:
    """Multiply-accumulates of one image of H, W pixels and `mixer.dim` channels, as torch's own counter sees them.

    The mixer is run once, where its parameters are; on the meta device nothing is computed.
    """
    parameter = next(mixer.parameters(), torch.empty(0))
    # Where the mixer is, also what it makes on the way: on the meta device nothing mixes with real tensors.
    with parameter.device, evaluating(mixer), torch.no_grad(), FlopCounterMode(display=False) as counter:
        mixer(torch.zeros(1, *resolution, mixer.dim, dtype=parameter.dtype))
    return counter.get_total_flops() // 2


def measured_receptive_field(mixer: nn.Module, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
    """bool H, W: pixels from which a gradient reached the output pixel at `position` (row, column) in some draw.

    Each of DRAWS draws has other weights and another map, in float64 and eval mode, from fixed seeds. What only rare
    weights connect, such as a sampling point that moves far, may be missed: then more is reached than is said here.

    Raises: ValueError for a mixer on the meta device, which has nothing to differentiate.
    """
    if any(tensor.is_meta for tensor in mixer.state_dict().values()):
        raise ValueError("a receptive field is measured on real weights, not on the meta device")
    probe = copy.deepcopy(mixer).double().eval()
    reached = torch.zeros(resolution, dtype=torch.bool)
    device = next(probe.parameters(), reached).device
    for seed in range(DRAWS):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in probe.parameters():
                # Of a size that keeps values as they are, so that no softmax is decided by one key.
                deviation = 1 / math.sqrt(parameter[0].numel()) if parameter.ndim > 1 else 0.5
                drawn = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.copy_(deviation * drawn)
        x = torch.randn(1, *resolution, mixer.dim, generator=generator, dtype=torch.float64).to(device)
        x.requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(probe(x)[0][position].sum(), x, allow_unused=True)
        if gradient is not None:
            strength = gradient[0].abs().amax(-1).cpu()
            reached |= strength > ROUNDING * strength.max()
    return reached


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode inside; what was in training mode before is so again after."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
