"""The function that mixers call."""

import torch
from torch import Tensor

from .. import used
from . import reference
from .geometry import Geometry
from .operator import DCNV3


def dcnv3(
    value: Tensor,
    offsets: Tensor,
    weights: Tensor,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    offset_scale: float = 1.0,
    remove_centre: bool = False,
    centre_feature_scale: Tensor | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Sums weighted bilinear samples of `value` at moved kernel points; outside of the map, values are zero.

    Source: Wang et al., InternImage, arXiv:2211.05778, eq. 2; official code OpenGVLab/InternImage (operation DCNv3).
    `Geometry` in geometry.py has the formula of the positions and the order of the points (x is the slow index).
    A point whose position is not a number counts as outside: it adds nothing and has no gradient.

    Args:
        value: B, H, W, C. Groups are consecutive blocks of C / G channels.
        offsets: B, H', W', G, K, 2: (x, y) of each of the K sampling points, in pixels before scaling.
        weights: B, H', W', G, K, used as they are. Offsets and weights have the dtype of `value`, or float32 where that
            has 16 bits; autocast casts all three to its dtype. The arithmetic is in float32, or float64 for float64.
        kernel_size: points along a side; K is its square, less one without centre.
        stride: pixels between the kernels of neighbouring outputs.
        padding: pixels by which the first kernel starts outside of the map.
        dilation: pixels between neighbouring points before scaling.
        offset_scale: factor on the distance of points from their kernel's centre, offsets included.
        remove_centre: whether the kernel lacks its centre point. Needs an odd kernel size.
        centre_feature_scale: B, H', W', G, or None: share, 0 to 1, of the value at the output's own pixel that replaces
            as much of the samples. Needs an output as large as the value.
        implementation: auto, reference, cpp, triton or cuda; `implementation_for` says what auto is.

    Returns:
        B, H', W', C in the dtype of `value`, contiguous.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together, an impossible number, an unknown implementation
            or one that does not take this device or dtype.
        MissingImplementationError: the implementation asked for by name cannot run on this machine.
    """
    numbers = (kernel_size, stride, padding, dilation, float(offset_scale), remove_centre)
    if torch.onnx.is_in_onnx_export():  # ONNX lacks the operator, and has all that the reference is made of.
        used.note("dcnv3", used.REFERENCE)
        output = reference.forward(value, offsets, weights, Geometry(*numbers))
    else:
        output = DCNV3(value, offsets, weights, *numbers, implementation)
    if centre_feature_scale is None:
        return output
    if value.shape != output.shape or centre_feature_scale.shape != weights.shape[:-1]:
        raise ValueError(
            f"dcnv3: centre_feature_scale {tuple(centre_feature_scale.shape)} must be {tuple(weights.shape[:-1])}, and "
            f"the output {tuple(output.shape)} as large as value {tuple(value.shape)}"
        )
    groups = weights.shape[3]
    samples, centres = (tensor.unflatten(-1, (groups, -1)) for tensor in (output, value.to(output.dtype)))
    return samples.lerp(centres, centre_feature_scale.to(output.dtype).unsqueeze(-1)).flatten(-2)
