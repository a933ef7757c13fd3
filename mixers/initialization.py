"""The initial weights that the unified network's authors train with, for whoever has convolutions or linear layers.

Source: official code OpenGVLab/STM-Evaluation of arXiv:2211.05781. Nothing is drawn on the meta device, where a network
is only described.
"""

from torch import nn


def truncated_normal(layer: nn.Module) -> None:
    """Weights of one convolution or linear layer normal with deviation 0.02, cut at ±2; bias 0."""
    if layer.weight.is_meta:
        return
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def truncated_normal_layers(module: nn.Module) -> None:
    """`truncated_normal` for every 2-D convolution and linear layer inside; other parameters stay as they are."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            truncated_normal(layer)
