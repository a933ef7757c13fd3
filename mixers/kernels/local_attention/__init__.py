"""Attention from blocks of pixels to windows around them: HaloNet's and Swin's, on maps `B, H, W, heads, d`."""

from .attention import LocalAttention
from .implementations import IMPLEMENTATIONS, implementation_for

__all__ = ["IMPLEMENTATIONS", "LocalAttention", "implementation_for"]
