"""How many positions' worth a mixer tells apart: the effective rank of its mixing matrix at a given map.

Source: Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.
"""

import torch
from torch import Tensor, nn


def mixing_matrix(mixer: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    """The mixer's Jacobian over positions at the map `x` (1, H, W, C), for one random direction of channels on each
    side: float64 N, N with N = H · W. Row p, column q: how position p of what comes out follows position q.

    Needs memory for N maps. `generator` is on the CPU.
    """
    positions = x.shape[1] * x.shape[2]
    inward, outward = (torch.randn(x.shape[-1], generator=generator).to(x) for _ in range(2))
    copies = x.detach().expand(positions, -1, -1, -1).clone().requires_grad_()
    with torch.enable_grad():
        output = mixer(copies).float().flatten(1, 2) @ outward
        (gradient,) = torch.autograd.grad(output.diagonal().sum(), copies)
    return (gradient.float().flatten(1, 2) @ inward).double()


def effective_rank(matrix: Tensor) -> float:
    """exp of the entropy of the singular values as shares: between 1 and N, and 0 for a matrix of zeros."""
    singular = torch.linalg.svdvals(matrix.cpu())
    if not singular.sum() > 0:
        return 0.0
    shares = singular / singular.sum()
    return float(torch.special.entr(shares).sum().exp())
