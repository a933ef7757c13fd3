"""The selective scan against linear algebra: a recurrence is a triangular system, which LAPACK solves.

Nothing installable computes VMamba's mixer on a CPU, so the parts around the scan are held by the plain twin alone.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.kernels.selective_scan import selective_scan

from ..kernels.test_selective_scan import inputs_of


def by_triangular_systems(
    x: Tensor, delta: Tensor, a_log: Tensor, b: Tensor, c: Tensor, d: Tensor, delta_bias: Tensor
) -> Tensor:
    """For each path, channel and state, (1 - decays one below the diagonal) h = what enters."""
    rows, columns = x.shape[1:3]
    numbers = torch.arange(rows * columns).view(rows, columns)
    total = torch.zeros_like(x).flatten(1, 2)
    for path, order in enumerate((numbers, numbers.T, numbers.flip(0, 1), numbers.T.flip(0, 1))):
        order = order.flatten()

        def along(pixels: Tensor, order: Tensor = order) -> Tensor:
            return pixels.flatten(1, 2)[:, order]  # B, L, n

        u, steps = along(x), F.softplus(along(delta[path]) + delta_bias[path], threshold=1000)
        entering = (steps * u)[..., None] * along(b[path])[:, :, None]  # B, L, E, S
        decays = torch.exp(-torch.exp(a_log[path]) * steps[..., None])
        systems = torch.eye(len(order), dtype=x.dtype) - torch.diag_embed(decays.movedim(1, -1)[..., 1:], offset=-1)
        states = torch.linalg.solve_triangular(systems, entering.movedim(1, -1)[..., None], upper=False)
        y = (states[..., 0].movedim(-1, 1) * along(c[path])[:, :, None]).sum(-1) + d[path] * u
        total = total.index_add(1, order, y)
    return total.unflatten(1, (rows, columns))


@pytest.mark.parametrize("size", [(2, 1, 1, 3, 1), (1, 4, 7, 5, 1), (2, 5, 3, 4, 16)])
def test_equals_solutions_of_triangular_systems(size: tuple[int, ...]) -> None:
    results = []
    for scan in (selective_scan, by_triangular_systems):
        inputs = inputs_of(*size)
        output = scan(**inputs)
        results.append((output, *torch.autograd.grad(output.square().sum(), list(inputs.values()))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12 * float(theirs.detach().abs().max()))
