"""`task=check`: does a mixer keep its promises?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .registry import register_task
from .task import MixerTask


@dataclass
class CheckSettings:
    """Whether a mixer keeps the promises that a network relies on.

    Attributes:
        dim: channels of the mixer that is tried.
        compile: also whether torch.compile gets it into one graph, which takes a minute.
    """

    name: str = "check"
    dim: int = 64
    compile: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        if self.dim < 1:
            raise ValueError(f"task.dim={self.dim}: must be at least 1")


@register_task("check")
class CheckTask(MixerTask):
    """The contract on a mixer of this repository or a user's own file, in words."""

    settings = CheckSettings

    def run(self, mixer: str, options: Mapping[str, Any], settings: CheckSettings) -> bool:
        from rich.console import Console

        from analysis.mixer_contract import check_mixer, print_findings

        findings = list(check_mixer(mixer, options, dim=settings.dim, compile=settings.compile))
        print_findings(mixer, findings, Console())
        return all(finding.holds for finding in findings)
