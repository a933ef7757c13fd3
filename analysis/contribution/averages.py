"""What mixers give on average: all that they say of no image in particular."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class Averages:
    """Means over images of what each of `mixers` gives, a map H, W, C each.

    `collect` and `give` are replacements, see `architectures.without_mixers`.
    """

    def __init__(self, mixers: Sequence[nn.Module]) -> None:
        self.mixers = list(mixers)
        self.images: dict[nn.Module, int] = {}
        self.sums: dict[nn.Module, Tensor] = {}

    def collect(self, mixer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        """What it gives, added up."""
        total = output.double().sum(0)
        self.sums[mixer] = self.sums[mixer] + total if mixer in self.sums else total
        self.images[mixer] = self.images.get(mixer, 0) + len(output)
        return output

    def give(self, mixer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        """Its mean over the images, for every image."""
        return (self.sums[mixer] / self.images[mixer]).to(output).expand_as(output)

    def to_bytes(self) -> bytes:
        """For `read`: the means in float32."""
        buffer = io.BytesIO()
        means = [(self.sums[mixer] / self.images[mixer]).float().cpu().numpy() for mixer in self.mixers]
        np.savez(buffer, *means)
        return buffer.getvalue()

    def read(self, content: bytes, device: torch.device) -> None:
        """What `to_bytes` gave of the same mixers."""
        with np.load(io.BytesIO(content), allow_pickle=False) as means:
            for place, mixer in enumerate(self.mixers):
                self.sums[mixer] = torch.from_numpy(means[f"arr_{place}"]).to(device)
                self.images[mixer] = 1
