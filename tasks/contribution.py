"""`task=contribution`: which stage's mixer matters?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from analysis.metrics import TOP1, Metric, percent
from training.settings import VALIDATION_BATCH_SIZE

from .analysis import AnalysisTask
from .hooks import VIEWS, Hooks
from .registry import register_task
from .task import CellOfTask, Config, Results

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from torch import Tensor

    from analysis.contribution import Averages
    from analysis.report.chart import Chart
    from analysis.report.style import Style
    from mixers import Mixer
    from training.progress import Progress

    from .from_config.trained import Trained


class Instead(StrEnum):
    """What a mixer gives instead: nothing, what came in, or its mean over the validation images."""

    zero = "zero"
    identity = "identity"
    average = "average"


STAGES = (1, 2, 3, 4)
RANKED_POSITIONS = 64
"""An effective rank takes as many maps as a map has positions: cheap where they are few."""


@dataclass
class ContributionSettings:
    """Which mixers are replaced, and by what.

    Attributes:
        instead: zero, identity, average.
        blocks: also each block's mixer alone, besides each stage's and all.
        rank_images: at so many images the effective rank of each mixer is measured whose map has 2 to 64 positions; 0
            measures none.
        batch_size: images per forward pass.
        average: of a run's directory, the moving average of the weights instead of the weights.
    """

    name: str = "contribution"
    instead: list[Instead] = field(default_factory=lambda: list(Instead))
    blocks: bool = False
    rank_images: int = 8
    batch_size: int = VALIDATION_BATCH_SIZE
    average: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        for key, holds, rule in (
            ("instead", 0 < len(self.instead) == len(set(self.instead)), "give each of zero, identity, average once"),
            ("rank_images", self.rank_images >= 0, "must be at least 0"),
            ("batch_size", self.batch_size >= 1, "must be at least 1"),
        ):
            if not holds:
                raise ValueError(f"task.{key}={getattr(self, key)}: {rule}")


@register_task("contribution")
class ContributionTask(AnalysisTask):
    """Accuracy with the mixers of each stage, each block or the whole network replaced, and their effective rank."""

    title = "What the mixers contribute"
    says = (
        "Top-1 where the mixers of all stages, or of stage 1 to 4, give zero, what came in, or their mean. The rank is "
        "the effective rank of mixing matrices in percent of the positions, mean over the mixers with small maps."
    )
    settings = ContributionSettings
    metrics = (
        TOP1,
        *(percent(f"all_{how}_top1_percent", f"all {how}") for how in Instead),
        *(percent(f"stage_{stage}_zero_top1_percent", f"{stage} zero") for stage in STAGES),
        Metric("effective_rank_percent", "rank", unit="%", digits=1, least=0, most=100.01),
    )
    code = (
        "training",
        "tasks/from_config/weights.py",
        "tasks/from_config/trained.py",
        "analysis/contribution/averages.py",
        "analysis/contribution/effective_rank.py",
        "analysis/contribution/lost.py",
    )

    def check_networks(self, config: Config) -> None:
        import torch

        from architectures import build_network
        from architectures.without_mixers import mixers_by_stage

        from .from_config.network import network_spec

        with torch.device("meta"):
            network = build_network(network_spec(config))
        if not any(mixers_by_stage(network)):
            raise ValueError(
                f"network={config['network']['name']}: has no mixers that could be replaced; task=contribution is for "
                "networks around one of the registered mixers"
            )

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        from architectures.without_mixers import mixers_by_stage
        from training.progress import Progress
        from training.whole_file import write_whole

        from .from_config.trained import trained

        settings = ContributionSettings(**cell.config["task"])
        subject = trained(cell.config, show_progress=hooks.show_progress)
        stages, kept = mixers_by_stage(subject.network), cell.directory / VIEWS / hooks.version
        parts, ways = _parts(stages, blocks=settings.blocks), [Instead(way) for way in settings.instead]
        passes = 1 + (Instead.average in ways) + len(parts) * len(ways)
        with Progress(f"contribution on {subject.data.name}", hooks.show_progress) as progress:
            progress.begin(passes * len(subject.batches(settings.batch_size)))
            whole = _answered(subject, settings, kept, "whole", progress)
            write_whole(cell.directory / "outcomes.npy", (kept / "whole" / "top1.npy").read_bytes())
            averages = _averages(subject, settings, kept, progress) if Instead.average in ways else None
            results, observations = {"top1_percent": _top1(whole)}, []
            for part, mixers in parts.items():
                for way in ways:
                    with _replaced(mixers, way, averages):
                        found = _answered(subject, settings, kept, f"{part}_{way}", progress)
                    if found is not None:
                        results[f"{part}_{way}_top1_percent"] = _top1(found)
                        observations.append(_observation(part, way, whole, found))
        ranks = list(_ranks(subject, stages, settings))
        if ranks:
            results["effective_rank_percent"] = sum(rank["effective_rank_percent"] for rank in ranks) / len(ranks)
        known = {metric.name for metric in self.metrics}
        results = {name: value for name, value in results.items() if name in known}
        return subject.results(results, [*observations, *ranks])

    def charts(self, observations: "pd.DataFrame", look: "Mapping[str, Style]") -> "Iterable[Chart]":
        from analysis.contribution.charts import contribution_charts

        return contribution_charts(observations, look)


def _parts(stages: "Sequence[Sequence[Mixer]]", *, blocks: bool) -> "dict[str, list[Mixer]]":
    """By name the mixers that are replaced together."""
    parts = {"all": [mixer for stage in stages for mixer in stage]}
    parts |= {f"stage_{number}": list(stage) for number, stage in enumerate(stages, start=1) if stage}
    if blocks:
        parts |= {
            f"stage_{number}_block_{place}": [mixer]
            for number, stage in enumerate(stages, start=1)
            for place, mixer in enumerate(stage, start=1)
        }
    return parts


def _replaced(mixers: "Sequence[Mixer]", way: Instead, averages: "Averages | None") -> Any:
    from architectures import without_mixers

    if way is Instead.average and averages is not None:
        return without_mixers.replaced(mixers, averages.give)
    return without_mixers.replaced(mixers, without_mixers.zero if way is Instead.zero else without_mixers.identity)


def _answered(
    subject: "Trained", settings: ContributionSettings, kept: "Path", name: str, progress: "Progress"
) -> "np.ndarray | None":
    """The outcomes of the network as it is now; None where its answers are not finite.

    Raises: NonFiniteLossError where the whole network's are not.
    """
    import numpy as np

    from architectures.inference import inference_form
    from training.nonfinite import NonFiniteLossError
    from training.views import Group, answer_groups, passes_left

    def as_it_is(pixels: "Tensor", labels: "Tensor") -> "Tensor":
        return pixels

    group, form = Group(name, {"top1": as_it_is}), inference_form(subject.network)
    if not passes_left([group], kept):
        for _ in range(len(subject.batches(settings.batch_size))):
            progress.advance()
    ((_, found),) = answer_groups(
        [group],
        lambda: subject.batches(settings.batch_size),
        lambda pixels: subject.logits(form, pixels),
        folder=kept,
        on_batch=lambda group: progress.advance(group.replace("_", " ")),
    )
    outcomes = found["top1"]
    if np.isfinite(outcomes["log_probability"]).all() and len(outcomes):
        return outcomes
    if name == "whole":
        raise NonFiniteLossError("no validation image can be read, or the network's answers are not finite")
    return None


def _averages(subject: "Trained", settings: ContributionSettings, kept: "Path", progress: "Progress") -> "Averages":
    import torch

    from analysis.contribution import Averages
    from architectures.without_mixers import mixers_by_stage, replaced
    from training.whole_file import write_whole

    mixers = [mixer for stage in mixers_by_stage(subject.network) for mixer in stage]
    averages, file = Averages(mixers), kept / "averages.npz"
    if not file.exists():
        with replaced(mixers, averages.collect), torch.no_grad():
            for pixels, _ in subject.batches(settings.batch_size).epoch(0):
                subject.logits(subject.network, pixels)
                progress.advance("averages")
        write_whole(file, averages.to_bytes())
    averages.read(file.read_bytes(), subject.device)
    return averages


def _top1(outcomes: "np.ndarray") -> float:
    return 100 * int(outcomes["top1"].sum()) / len(outcomes)


def _observation(part: str, way: Instead, whole: "np.ndarray", found: "np.ndarray") -> dict[str, Any]:
    from analysis.contribution import lost_points

    lost = lost_points(whole["top1"], found["top1"])
    return {
        "part": part.replace("_", " "),
        "instead": str(way),
        "top1_percent": _top1(found),
        "lost_points": lost.points,
        "lost_low_points": lost.low,
        "lost_high_points": lost.high,
    }


def _ranks(
    subject: "Trained", stages: "Sequence[Sequence[Mixer]]", settings: ContributionSettings
) -> Iterator[dict[str, Any]]:
    """Of each mixer with a map that is small enough, and has positions to mix: the mean over images."""
    import torch

    from analysis.contribution import effective_rank, mixing_matrix

    from .from_config.trained import spread

    mixers = {
        f"stage {number} block {place}": mixer
        for number, stage in enumerate(stages, start=1)
        for place, mixer in enumerate(stage, start=1)
    }
    found: dict[str, list[float]] = {name: [] for name in mixers}
    batches, seen = subject.batches(1), {}

    def keep(mixer: "Mixer", inputs: "tuple[Tensor, ...]") -> None:
        seen[mixer] = inputs[0].detach()

    for image in spread(len(batches), settings.rank_images):
        pixels, _ = next(iter(batches.epoch(0, first_batch=image)))
        hooks = [mixer.register_forward_pre_hook(keep) for mixer in mixers.values()]
        with torch.no_grad():
            subject.logits(subject.network, pixels)
        for hook in hooks:
            hook.remove()
        for name, mixer in mixers.items():
            x = seen[mixer]
            if 1 < (positions := x.shape[1] * x.shape[2]) <= RANKED_POSITIONS:
                matrix = mixing_matrix(mixer, x.float(), torch.Generator().manual_seed(image))
                found[name].append(100 * effective_rank(matrix) / positions)
    for name, ranks in found.items():
        if ranks:
            yield {"part": name, "effective_rank_percent": sum(ranks) / len(ranks)}
