"""A residual connection with layer scale and stochastic depth in one pass over the maps, on the CPU."""

from .function import residual, takes_residual, write_residual

__all__ = ["residual", "takes_residual", "write_residual"]
