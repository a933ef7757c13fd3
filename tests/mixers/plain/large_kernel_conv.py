"""Large-kernel conv, tap by tap, with whole kernels and norms."""

from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, batch_norm, depthwise_convolution, linear


def large_kernel_conv(
    parameters: Parameters,
    x: Tensor,
    *,
    kernel_size: int = 31,
    small_kernel_size: int = 5,
    decomposed: bool = False,
    projection: bool = True,
    expansion: float = 1.0,
) -> Tensor:
    width = int(expansion * x.shape[-1])
    large, small = kernel_size, small_kernel_size
    shapes = [(large, small), (small, large), (small, small)] if decomposed else [(large, large), (small, small)]
    if projection:
        x = batch_norm(linear(x, parameters, "input_proj.linear"), parameters, "input_proj.bn").clamp(min=0)
    branches = []
    for branch, shape in enumerate(shapes):
        kernel = parameters[f"kernels.branches.{branch}.conv.weight"][:, 0].permute(1, 2, 0)
        assert kernel.shape == (*shape, width)
        branches.append(batch_norm(depthwise_convolution(x, kernel), parameters, f"kernels.branches.{branch}.bn"))
    x = sum(branches)
    if not projection:
        return x
    return batch_norm(linear(x.clamp(min=0), parameters, "output_proj.linear"), parameters, "output_proj.bn")


PLAIN = Plain(
    large_kernel_conv,
    cases=[Case({"kernel_size": 13})],
    option_cases=[
        Case({"kernel_size": 31, "expansion": 1.5}),
        Case({"kernel_size": 13, "small_kernel_size": 3, "decomposed": True, "projection": False}),
    ],
    refused=[
        ({"kernel_size": 4}, "kernel_size=4: must be odd"),
        ({"small_kernel_size": 0}, "small_kernel_size=0: must be odd"),
        ({"kernel_size": 3}, "small_kernel_size=5: must be at most kernel_size=3"),
        ({"projection": False, "expansion": 2.0}, r"expansion=2\.0: must be 1 without projection"),
        ({"expansion": 0.01}, r"expansion=0\.01: leaves no channel of dim=64"),
    ],
)
