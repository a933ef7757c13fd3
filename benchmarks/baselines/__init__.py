"""Networks written as directly as their papers read: what the speed of ours is measured against.

They compute the same numbers from the same weights and nothing else uses them.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from .dwnet import DynamicDWNetBaseline
from .unified import UnifiedBaseline

BASELINES: dict[str, Callable[[], nn.Module]] = {
    "unified_halo_tiny": partial(UnifiedBaseline, "halo", "tiny"),
    "unified_pvt_tiny": partial(UnifiedBaseline, "sra", "tiny"),
    "unified_swin_tiny": partial(UnifiedBaseline, "shifted_window", "tiny"),
    "unified_convnext_tiny": partial(UnifiedBaseline, "depthwise_conv", "tiny"),
    "unified_dcn_v3_tiny": partial(UnifiedBaseline, "dcnv3", "tiny"),
    "dynamic_dwnet_tiny": DynamicDWNetBaseline,
}
