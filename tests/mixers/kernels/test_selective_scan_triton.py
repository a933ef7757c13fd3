"""The scan in Triton without a GPU: interpreted it equals the reference, and it compiles for sm_80 and sm_90."""

import pytest
import torch

pytest.importorskip("triton")
from mixers.kernels.selective_scan import implementations

from .test_selective_scan import inputs_of
from .triton_without_gpu import Recorder, assert_interpreted_tests_pass

MOST_SHARED_MEMORY = 99 * 2**10  # bytes, of a program on the GPUs that have least, sm_86 and sm_89


@pytest.mark.parametrize("chosen", ["size1", pytest.param("test", marks=pytest.mark.slow)], ids=["few", "all"])
def test_interpreted_equals_reference(chosen: str) -> None:
    assert_interpreted_tests_pass("interpreted_selective_scan.py", chosen)


@pytest.mark.parametrize(
    ("states", "dtype", "architecture"),
    [
        (1, torch.bfloat16, 90),
        pytest.param(16, torch.float32, 80, marks=pytest.mark.slow),
        pytest.param(16, torch.float16, 90, marks=pytest.mark.slow),
        pytest.param(1, torch.float32, 80, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_compiles_without_a_gpu(
    states: int, dtype: torch.dtype, architecture: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the launches of a scan of such a map would compile."""
    module = implementations.module_of("triton")
    recorders = {}
    for name in ("forward_program", "backward_program"):
        recorders[name] = Recorder(getattr(module, name))
        monkeypatch.setattr(module, name, recorders[name])
    inputs = {name: tensor.detach().to("meta") for name, tensor in inputs_of(2, 56, 56, 96, states).items()}
    x, delta, a, b, c, d, bias = (
        tensor.to(torch.float32 if name in ("a_log", "d", "delta_bias") else dtype) for name, tensor in inputs.items()
    )
    arguments = (x, delta, bias, a, b, c, d)
    output = module.forward(*arguments)
    assert output.shape == x.shape
    forward = recorders["forward_program"].compiled(architecture)
    for gradient, tensor in zip(module.backward(output, *arguments), arguments, strict=True):
        assert gradient.shape == tensor.shape
    for binary in (forward, *(recorder.compiled(architecture) for recorder in recorders.values())):
        assert f".target sm_{architecture}" in binary.asm["ptx"]
        assert "atom." not in binary.asm["ptx"]  # sums have one order
        assert binary.asm["cubin"]
        assert binary.metadata.shared <= MOST_SHARED_MEMORY
