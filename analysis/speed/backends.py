"""torch's process-wide switches that decide speed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from ..settings import SpeedSettings


@contextmanager
def backends(settings: SpeedSettings) -> Iterator[None]:
    """The switches as `settings` has them, and afterwards as they were."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = (
        torch.get_num_threads(),
        torch.backends.cudnn.benchmark,
        matmul.fp32_precision,
        convolution.fp32_precision,
    )
    try:
        _set(settings.threads or before[0], settings.cudnn_benchmark, *["tf32" if settings.tf32 else "ieee"] * 2)
        with _many_versions() if any(settings.compiled) else nullcontext():
            yield
    finally:
        _set(*before)


def _many_versions() -> AbstractContextManager[Any]:
    """Candidates of one class share its code, of which the compiler compiles few versions; the others it leaves eager.

    Here it compiles each, or raises.
    """
    import torch._dynamo

    return torch._dynamo.config.patch(
        recompile_limit=1000, accumulated_recompile_limit=1000, fail_on_recompile_limit_hit=True
    )


def _set(threads: int, cudnn_benchmark: bool, matmul_precision: str, convolution_precision: str) -> None:
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = cudnn_benchmark
    torch.backends.cuda.matmul.fp32_precision = matmul_precision
    torch.backends.cudnn.conv.fp32_precision = convolution_precision
