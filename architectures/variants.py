"""The published sizes of the unified network, and what a size means for a mixer that has none.

Source: official code OpenGVLab/STM-Evaluation of arXiv:2211.05781, file by file as released; `large` has no published
result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixers.contract import largest_divisor

PerStage = tuple[int, int, int, int]


@dataclass(frozen=True)
class Variant:
    """What distinguishes one unified network from another, besides its mixer.

    Attributes:
        drop_path_rate: of the last block, in ImageNet classification; `detection_drop_path_rate` in COCO detection.
        mixer_options: values that the mixer gets, one or one a stage.
        head_width: option that counts heads or groups -> channels of one, the same in all stages.
        norm_eps: of the two norms in a block; all other norms have 1e-6.
        position_embedding: whether the first block of each stage has one.
        detection_options: mixer options by which the authors' detection code differs.
    """

    dims: PerStage
    depths: PerStage
    drop_path_rate: float
    detection_drop_path_rate: float
    mixer_options: Mapping[str, Any] = field(default_factory=dict)
    mlp_ratio: PerStage = (4, 4, 4, 4)
    norm_eps: float = 1e-6
    position_embedding: bool = False
    detection_options: Mapping[str, Any] = field(default_factory=dict)
    head_width: Mapping[str, int] = field(default_factory=dict)

    @property
    def published_options(self) -> dict[str, Any]:
        """`mixer_options`, and as many heads as these dims have of the published width."""
        heads = {
            option: tuple(largest_divisor(dim, at_most=dim // width) for dim in self.dims)
            for option, width in self.head_width.items()
        }
        return {**self.mixer_options, **heads}


# By which the authors' detection code differs for every mixer: stage outputs get norms of their own, which are not in
# the path to the next stage, and a position embedding is seen by the mixer but not added to the residual.
DETECTION = {"output_norms": True, "position_in_residual": False}


def _halo(dims: PerStage, depths: PerStage, drop_path: float, detection_drop_path: float) -> Variant:
    return Variant(
        dims,
        depths,
        drop_path,
        detection_drop_path,
        mixer_options={"block_size": 7, "halo_size": 3},
        head_width={"num_heads": 32},
        norm_eps=1e-5,
        detection_options={"mask_padding": False},
    )


def _sra(
    dims: PerStage,
    depths: PerStage,
    drop_path: float,
    detection_drop_path: float,
    head_width: int = 64,
    mlp_ratio: PerStage = (8, 8, 4, 4),
) -> Variant:
    return Variant(
        dims,
        depths,
        drop_path,
        detection_drop_path,
        mixer_options={"sr_ratio": (8, 4, 2, 1)},
        head_width={"num_heads": head_width},
        mlp_ratio=mlp_ratio,
        norm_eps=1e-5,
        position_embedding=True,
    )


def _swin(dims: PerStage, depths: PerStage, drop_path: float, detection_drop_path: float) -> Variant:
    return Variant(
        dims,
        depths,
        drop_path,
        detection_drop_path,
        mixer_options={"window_size": 7},
        head_width={"num_heads": 32},
        detection_options={"mask_padding": False, "shrink_window": False},
    )


def _convnext(dims: PerStage, depths: PerStage, drop_path: float, detection_drop_path: float) -> Variant:
    return Variant(dims, depths, drop_path, detection_drop_path, mixer_options={"kernel_size": 7})


def _dcnv3(dims: PerStage, depths: PerStage, drop_path: float, detection_drop_path: float) -> Variant:
    return Variant(
        dims,
        depths,
        drop_path,
        detection_drop_path,
        mixer_options={"kernel_size": 3, "dw_kernel_size": 3},
        head_width={"groups": 16},
        norm_eps=1e-5,
    )


VARIANTS: dict[str, dict[str, Variant]] = {
    "halo": {
        "micro": _halo((32, 64, 128, 256), (2, 2, 9, 2), 0.0, 0.1),
        "tiny": _halo((96, 192, 384, 768), (2, 2, 6, 2), 0.2, 0.2),
        "small": _halo((96, 192, 384, 768), (2, 2, 18, 2), 0.3, 0.2),
        "base": _halo((128, 256, 512, 1024), (2, 2, 18, 2), 0.5, 0.3),
    },
    "sra": {
        "micro": _sra((32, 64, 160, 256), (2, 2, 3, 2), 0.0, 0.1, head_width=32),
        "tiny": _sra((64, 128, 320, 512), (3, 4, 9, 3), 0.1, 0.2),
        "small": _sra((64, 128, 320, 512), (3, 4, 21, 3), 0.3, 0.2),
        "base": _sra((64, 128, 320, 512), (3, 8, 45, 3), 0.5, 0.3, mlp_ratio=(4, 4, 4, 4)),
    },
    "shifted_window": {
        "micro": _swin((32, 64, 128, 256), (2, 2, 9, 2), 0.0, 0.1),
        "tiny": _swin((96, 192, 384, 768), (2, 2, 6, 2), 0.2, 0.2),
        "small": _swin((96, 192, 384, 768), (2, 2, 18, 2), 0.3, 0.2),
        "base": _swin((128, 256, 512, 1024), (2, 2, 18, 2), 0.5, 0.3),
    },
    "depthwise_conv": {
        "micro": _convnext((32, 64, 128, 256), (3, 3, 8, 3), 0.0, 0.1),
        "tiny": _convnext((96, 192, 384, 768), (2, 2, 9, 2), 0.1, 0.2),
        "small": _convnext((96, 192, 384, 768), (2, 2, 24, 2), 0.4, 0.2),
        "base": _convnext((128, 256, 512, 1024), (2, 2, 24, 2), 0.5, 0.3),
    },
    "dcnv3": {
        "micro": _dcnv3((32, 64, 128, 256), (2, 2, 9, 2), 0.0, 0.1),
        "tiny": _dcnv3((64, 128, 256, 512), (4, 4, 18, 4), 0.1, 0.2),
        "small": _dcnv3((80, 160, 320, 640), (4, 4, 21, 4), 0.3, 0.2),
        "base": _dcnv3((112, 224, 448, 896), (4, 4, 21, 4), 0.5, 0.3),
        "large": _dcnv3((160, 320, 640, 1280), (5, 5, 22, 5), 0.5, 0.5),
    },
}

# The authors' names of the networks around these mixers; the others are named after their mixer.
NETWORK_NAMES = {
    "halo": "halo",
    "sra": "pvt",
    "shifted_window": "swin",
    "depthwise_conv": "convnext",
    "dcnv3": "dcn_v3",
}

# What a mixer without a row starts from, before its widths and the depth of stage 3 are matched to the scale's budget:
# the shape that most rows share, and the median of their drop path rates.
STARTING_POINTS = {
    "micro": Variant((32, 64, 128, 256), (2, 2, 9, 2), 0.0, 0.1),
    "tiny": Variant((96, 192, 384, 768), (2, 2, 6, 2), 0.1, 0.2),
    "small": Variant((96, 192, 384, 768), (2, 2, 18, 2), 0.3, 0.2),
    "base": Variant((128, 256, 512, 1024), (2, 2, 18, 2), 0.5, 0.3),
}

# Scales without published networks, and so without a budget: every mixer gets the same shape.
SHAPES = {
    # For training on a CPU in seconds, see docs/probes.md. Two blocks let mixers alternate that do so along the blocks.
    "nano": Variant((48, 48, 48, 48), (1, 1, 2, 2), 0.0, 0.0, mlp_ratio=(2, 2, 2, 2)),
}
