"""The function that mixers call."""

from torch import Tensor

from .operator import SELECTIVE_SCAN


def selective_scan(
    x: Tensor,
    delta: Tensor,
    a_log: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
    *,
    delta_bias: Tensor,
    implementation: str = "auto",
) -> Tensor:
    """Scans a map along the four paths of `paths.py` with recurrences that depend on the input, and adds up the four.

    Sources: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv:2312.00752, section
    3.2 (official code state-spaces/mamba); along four paths, Liu et al., VMamba, arXiv:2401.10166 (official code
    MzeroMiko/VMamba). `reference.py` has the formula, with a = -exp(a_log). Steps along a path are sequential.

    Args:
        x: B, H, W, E.
        delta: 4, B, H, W, E: sizes of the steps before softplus, of each path its own; like b and c, at the pixels of
            the map, in whatever order a path visits these.
        a_log: 4, E, S: logarithms of the rates at which states decay.
        b: 4, B, H, W, S: how the input enters each state, the same for all channels.
        c: 4, B, H, W, S: how each state is read.
        d: 4, E: what of the input goes past the states.
        delta_bias: 4, E: is added to delta.
        implementation: auto, reference, cpp or triton; `implementation_for` says what auto is.

    Returns:
        B, H, W, E in the dtype of the arithmetic, which is float64 where x is, and float32 otherwise: sums over a path
        may be too large for half precision.

    Raises:
        ValueError: shapes that do not fit together, an unknown implementation or one that does not take this device or
            dtype.
        MissingImplementationError: the implementation asked for by name cannot run on this machine.
    """
    return SELECTIVE_SCAN(x, delta, delta_bias, a_log, b, c, d, implementation)
