"""What a network looks like: the same colour, shape and stroke in every chart of a report."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..comparison import CONTROLS

# Bright enough on black, dark enough on white.
MIXER_COLORS: Mapping[str, str] = {
    "halo": "#4c78d8",
    "sra": "#e8912d",
    "shifted_window": "#e0605e",
    "depthwise_conv": "#2fa98c",
    "dynamic_depthwise_conv": "#5fae3b",
    "inhomogeneous_dynamic_depthwise_conv": "#b7a021",
    "dcnv3": "#a067dc",
    "identity": "#8a9099",
    "pooling": "#8a9099",
    "global_attention": "#8a9099",
}
FURTHER_COLORS = ("#d65fa5", "#3aa7c9", "#a87b5d", "#7f8f3d", "#c2708a", "#6f7fb5")
CONTROL_DASHES: Mapping[str, tuple[int, int]] = {"identity": (2, 3), "pooling": (6, 3), "global_attention": (10, 4)}
SCALE_SHAPES: Mapping[str, str] = {
    "nano": "cross",
    "micro": "circle",
    "tiny": "square",
    "small": "diamond",
    "base": "triangle-up",
    "large": "triangle-down",
}


@dataclass(frozen=True)
class Style:
    color: str
    control: bool
    dash: tuple[int, int] = (1, 0)


def styles(labels: Iterable[str]) -> dict[str, Style]:
    """The style of each label; one that is not known gets a colour by its place among the unknown ones."""
    labels = sorted(set(labels), key=lambda label: (label in CONTROLS, label))
    unknown = [label for label in labels if label not in MIXER_COLORS]
    colors = {label: FURTHER_COLORS[index % len(FURTHER_COLORS)] for index, label in enumerate(unknown)}
    return {
        label: Style(colors.get(label) or MIXER_COLORS[label], label in CONTROLS, CONTROL_DASHES.get(label, (1, 0)))
        for label in labels
    }
