"""Depth-wise convolution on `B, H, W, C` maps, with kernels shared by all images or of each image's own."""

from .function import DepthwiseConv2d, depthwise_conv

__all__ = ["DepthwiseConv2d", "depthwise_conv"]
