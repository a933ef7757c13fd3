"""Where a step's time goes: operations are sorted by what they are, and all of the time is somewhere."""

import time

import pytest
import torch

from benchmarks import anatomy


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("mkldnn::_linear_pointwise", "products"),
        ("aten::addmm_", "products"),
        ("aten::convolution_backward", "products"),
        ("stmbench_cpp::dcnv3_backward", "mixers' kernels"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "mixers' kernels"),
        ("aten::_fused_adamw_", "optimiser"),
        ("aten::mul", anatomy.REST),
        ("stmbench_cpp::residual", anatomy.REST),
    ],
)
def test_operations_have_their_kind(operation: str, kind: str) -> None:
    assert anatomy.kind_of(operation) == kind


def test_times_of_all_kinds_are_the_steps_time() -> None:
    a, b = torch.randn(700, 700), torch.randn(4_000_000)

    def step() -> None:
        a @ a
        b.exp()

    step()
    started = time.perf_counter()
    kinds = anatomy.milliseconds_by_kind(step, repeats=3)
    elapsed = (time.perf_counter() - started) * 1000
    assert kinds["products"] > 0
    assert kinds[anatomy.REST] > 0
    assert kinds["optimiser"] == 0
    assert sum(kinds.values()) < elapsed


def test_a_table_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    threads = ["--threads", str(torch.get_num_threads())]
    anatomy.main(["unified_convnext_tiny", "--mode", "inference", "--batch", "1", "--repeats", "1", *threads])
    assert "unified_convnext_tiny inference batch 1" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        anatomy.main(["resnet7"])
    assert "choose from unified_halo_tiny" in capsys.readouterr().err
