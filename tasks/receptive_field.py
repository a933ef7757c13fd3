"""`task=receptive_field`: from where does a feature get what it has?"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.metrics import Metric, percent

from .analysis import AnalysisTask
from .hooks import VIEWS, Hooks
from .registry import register_task
from .task import CellOfTask, Config, Results

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from analysis.report.chart import Chart
    from analysis.report.style import Style

    from .from_config.trained import Trained

PERCENT = (50, 90)
"""Of the energy."""
CELLS = 32
"""Rows and columns of a heat map at the most."""
TRAINED, UNTRAINED = "trained", "untrained"


@dataclass
class ReceptiveFieldSettings:
    """What gradients are taken of.

    Attributes:
        images: of the validation images, whole batches evenly spread over all of them.
        batch_size: images per pass.
        untrained: also the network as the seed initialises it, where there are weights.
        average: of a run's directory, the moving average of the weights instead of the weights.
    """

    name: str = "receptive_field"
    images: int = 64
    batch_size: int = 8
    untrained: bool = True
    average: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        for key in ("images", "batch_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"task.{key}={getattr(self, key)}: must be at least 1")


def _area(prefix: str, words: str, of: int) -> Metric:
    return percent(f"{prefix}energy_{of}_area_percent", f"{words}{of} % in", better=None)


@register_task("receptive_field")
class ReceptiveFieldTask(AnalysisTask):
    """The effective receptive field of the centre of each stage's map, by gradients, trained and untrained."""

    title = "Effective receptive field"
    says = (
        "How much of the image the fewest pixels are that hold 50 or 90 % of the squared gradient of the last map's "
        "centre; untrained: the same network as it is initialised."
    )
    settings = ReceptiveFieldSettings
    metrics = (
        *(_area("", "", of) for of in PERCENT),
        *(_area("untrained_", "untrained ", of) for of in PERCENT),
    )
    code = (
        "training",
        "tasks/from_config/weights.py",
        "tasks/from_config/trained.py",
        "analysis/receptive_field/energy.py",
    )
    needs_weights = False
    draws = True

    def check_networks(self, config: Config) -> None:
        import torch

        from architectures import build_network

        from .from_config.network import network_spec

        with torch.device("meta"):
            network = build_network(network_spec(config))
        if not hasattr(network, "forward_intermediates"):
            raise ValueError(f"network={config['network']['name']}: it does not offer the maps between its stages")

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        import torch

        from training.progress import Progress

        from .from_config.trained import spread, trained

        config, settings = cell.config, ReceptiveFieldSettings(**cell.config["task"])
        subject = trained(config, show_progress=hooks.show_progress)
        asked = {TRAINED if config["weights"] else UNTRAINED: subject}
        if config["weights"] and settings.untrained:
            torch.manual_seed(config["seed"])
            asked[UNTRAINED] = trained({**config, "weights": None}, show_progress=hooks.show_progress)
        kept, results, observations = cell.directory / VIEWS / hooks.version, {}, []
        with Progress(f"receptive fields on {subject.data.name}", hooks.show_progress) as progress:
            batches = subject.batches(settings.batch_size)
            chosen = spread(len(batches), -(-settings.images // settings.batch_size))
            progress.begin(len(asked) * len(chosen))
            for state, network in asked.items():
                energies, sizes = _energies(network, chosen, settings, kept / f"{state}.npz", progress.advance)
                found = list(_observations(state, energies, sizes))
                prefix = "untrained_" if state == UNTRAINED else ""
                results |= {prefix + name: found[-1][name] for name in (f"energy_{of}_area_percent" for of in PERCENT)}
                observations += found
        return subject.results(results, observations)

    def charts(self, observations: "pd.DataFrame", look: "Mapping[str, Style]") -> "Iterable[Chart]":
        from analysis.receptive_field.charts import receptive_field_charts

        return receptive_field_charts(observations, look)


def _energies(
    subject: "Trained",
    chosen: list[int],
    settings: ReceptiveFieldSettings,
    kept: Path,
    on_batch: Callable[[], None],
) -> tuple[list["np.ndarray"], list[tuple[int, int]]]:
    """Sums over the batches, and H and W of the maps; those that were done before are read from `kept`."""
    import numpy as np
    import torch

    from analysis.receptive_field import centre_energy
    from training.precision import autocast
    from training.whole_file import write_whole

    sizes: list[tuple[int, int]] = []

    def maps(images: torch.Tensor) -> list[torch.Tensor]:
        with autocast(subject.device, subject.precision):
            found = subject.network.forward_intermediates(images, output_fmt="NCHW", intermediates_only=True)
        sizes[:] = [tuple(features.shape[2:]) for features in found]
        return found

    done, energies = 0, []
    if kept.exists():
        with np.load(kept, allow_pickle=False) as before:
            done, energies = int(before["done"]), list(before["energies"])
            sizes = [(int(rows), int(columns)) for rows, columns in before["sizes"]]
    batches = subject.batches(settings.batch_size)
    for _ in range(done):
        on_batch()
    for batch in chosen[done:]:
        pixels, _ = next(iter(batches.epoch(0, first_batch=batch)))
        signs = torch.Generator().manual_seed(batch)
        found = centre_energy(maps, subject.normalize(pixels), signs)
        energies = [one + other for one, other in zip(energies, found, strict=True)] if energies else found
        done += 1
        buffer = io.BytesIO()
        np.savez(buffer, done=done, energies=np.stack(energies), sizes=np.array(sizes))
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, buffer.getvalue())
        on_batch()
    return energies, sizes


def _observations(state: str, energies: "list[np.ndarray]", sizes: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """One of each stage."""
    from analysis.receptive_field import area_percent, centre_of, decibels, within_percent

    for stage, (energy, size) in enumerate(zip(energies, sizes, strict=True), start=1):
        radii = [round(max(energy.shape) * step / 2 / CELLS, 3) for step in range(1, 2 * CELLS + 1)]
        yield {
            "state": state,
            "stage": stage,
            **{f"energy_{of}_area_percent": area_percent(energy, of) for of in PERCENT},
            "radii_px": radii,
            "within_percent": [
                round(share, 3) for share in within_percent(energy, centre_of(size, energy.shape), radii)
            ],
            "heat_map_db": decibels(energy, CELLS),
        }
