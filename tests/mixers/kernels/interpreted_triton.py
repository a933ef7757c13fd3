"""Run by test_dcnv3_triton.py in a process of its own, since Triton decides when it is imported to interpret."""

import pytest
import torch

from mixers.kernels.dcnv3 import dcnv3

from .cases import CASES, Case, assert_equals_reference

DTYPES = {
    "float32": (torch.float32, torch.float32),
    "float16": (torch.float16, torch.float16),
    "bfloat16": (torch.bfloat16, torch.bfloat16),
    "mixed": (torch.bfloat16, torch.float32),
}


@pytest.mark.parametrize("repeatable", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtypes", DTYPES)
def test_equals_reference(case: Case, dtypes: str, repeatable: bool):
    torch.use_deterministic_algorithms(repeatable)
    assert_equals_reference(case, "triton", *DTYPES[dtypes])


def test_points_far_away_or_nowhere_add_nothing():
    case = Case("one_group", (2, 2), groups=1, width=4, batch=1)
    value, offsets, weights = case.tensors(torch.float32)
    with torch.no_grad():
        offsets[..., 4:8, 0] = torch.tensor((1e30, 3e9, float("-inf"), float("nan")))
    outputs = [dcnv3(value, offsets, weights, **case.options, implementation=name) for name in ("triton", "reference")]
    torch.testing.assert_close(*outputs)
    grads = [torch.autograd.grad(output.sum(), (value, offsets, weights)) for output in outputs]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)
