"""Run by test_selective_scan_triton.py in a process of its own: Triton decides when it is imported to interpret."""

import pytest
import torch

from .test_selective_scan import assert_close, inputs_of, with_gradients

# Less than a block of steps and several; channels of several programs; states that are no power of two.
SIZES = [(1, 1, 1, 1, 1), (2, 3, 4, 5, 3), (1, 7, 6, 40, 1), (1, 5, 3, 33, 16)]


@pytest.mark.parametrize("size", SIZES)
def test_equals_reference(size: tuple[int, ...]) -> None:
    exact = with_gradients(inputs_of(*size), "reference")
    assert_close(with_gradients(inputs_of(*size, dtype=torch.float32), "triton"), exact, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_halves_equal_reference(dtype: torch.dtype) -> None:
    inputs = inputs_of(2, 3, 4, 5, 2, dtype=dtype)
    results, wanted = (with_gradients(inputs, implementation) for implementation in ("triton", "reference"))
    assert results[0].dtype == torch.float32
    assert_close(results[:1], wanted[:1], 1e-5)
    assert_close(results[1:], wanted[1:], 1e-3 if dtype == torch.float16 else 8e-3)
