"""Small configurations of every mixer, and weights for them that hide nothing (no zeros, no ones)."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from mixers import Mixer, build_mixer
from mixers.kernels.local_attention import LocalAttention

DIM = 8


@dataclass(frozen=True)
class Case:
    """One mixer with options; `resolution` is what it is built for, tests run it on other sizes.

    `attention` is the implementation of local attention, where the mixer has it.
    """

    mixer: str
    options: dict[str, Any] = field(default_factory=dict)
    resolution: tuple[int, int] = (14, 14)
    attention: str = "auto"

    def __str__(self) -> str:
        options = [f"{key}={value}" for key, value in self.options.items()]
        return "-".join([self.mixer, *options, *([] if self.attention == "auto" else [self.attention])])

    def build(self, *, seed: int = 0, scale: float = 0.5) -> Mixer:
        """The mixer in float64 and eval mode, with every parameter and batch-norm statistic drawn from `seed`."""
        mixer = build_mixer(self.mixer, DIM, self.resolution, **self.options).double().eval()
        for module in mixer.modules():
            if isinstance(module, LocalAttention):
                module.implementation = self.attention
        return randomise(mixer, seed=seed, scale=scale)


def randomise(mixer: Mixer, *, seed: int, scale: float = 0.5) -> Mixer:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, entry in mixer.state_dict().items():
            # A bias above zero, so that the ReLU behind the norm does not switch off every channel.
            if name.endswith(("running_var", "bn.bias")):
                entry.copy_(0.5 + torch.rand(entry.shape, generator=generator, dtype=entry.dtype))
            elif entry.is_floating_point():
                entry.copy_(scale * torch.randn(entry.shape, generator=generator, dtype=entry.dtype))
    return mixer


def random_map(rows: int, columns: int, *, batch: int = 1, dim: int = DIM, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, rows, columns, dim, generator=generator, dtype=torch.float64)


# As the networks use them.
MAIN_CASES = [
    Case("halo", {"num_heads": 2}),
    Case("sra", {"num_heads": 2, "sr_ratio": 4}),
    Case("shifted_window", {"num_heads": 2, "shift_size": 3}),
    Case("depthwise_conv"),
    Case("dynamic_depthwise_conv"),
    Case("inhomogeneous_dynamic_depthwise_conv", {"group_channels": 2}),
    Case("dcnv3", {"groups": 2}),
    Case("identity"),
    Case("pooling"),
    Case("global_attention", {"num_heads": 2}),
]

# Every other branch of the options.
OPTION_CASES = [
    Case("halo", {"num_heads": 2, "mask_padding": False}),
    Case("halo", {"num_heads": 4, "relative_embedding": "query_free"}),
    Case("halo", {"num_heads": 2, "block_size": 4, "halo_size": 1}),
    Case("halo", {"num_heads": 1, "block_size": 3, "halo_size": 0}),
    Case("sra", {"num_heads": 2, "sr_ratio": 1}),
    Case("sra", {"num_heads": 1, "sr_ratio": 8}),
    Case("shifted_window", {"num_heads": 2}),
    Case("shifted_window", {"num_heads": 2, "shift_size": 3, "mask_padding": False}),
    Case("shifted_window", {"num_heads": 2, "shift_size": 3}, resolution=(6, 9)),
    Case("shifted_window", {"num_heads": 2, "shift_size": 3, "shrink_window": False}, resolution=(6, 9)),
    Case("shifted_window", {"num_heads": 4, "window_size": 4, "shift_size": 2}),
    Case("depthwise_conv", {"kernel_size": 3, "projection": False}),
    Case("dynamic_depthwise_conv", {"kernel_size": 5, "reduction": 2, "projection": False}),
    Case(
        "inhomogeneous_dynamic_depthwise_conv",
        {"group_channels": 8, "kernel_size": 3, "reduction": 1, "projection": False},
    ),
    Case("dcnv3", {"groups": 4, "kernel_size": 5, "dw_kernel_size": 5, "offset_scale": 0.5}),
    Case("dcnv3", {"groups": 1, "kernel_size": 7}),
    Case("pooling", {"pool_size": 5}),
]
OPTION_CASES += [
    replace(case, attention="reference")
    for case in MAIN_CASES + OPTION_CASES
    if case.mixer in ("halo", "shifted_window")
]
CASES = MAIN_CASES + OPTION_CASES
