"""`task=scaling`: how do costs grow with the image?"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from analysis.metrics import COSTS, Metric

from .analysis import AnalysisTask
from .hooks import VIEWS, Hooks
from .registry import register_task
from .task import CellOfTask, Config, Results, Task

if TYPE_CHECKING:
    import pandas as pd

    from analysis.report.chart import Chart
    from analysis.report.style import Style
    from architectures import NetworkSpec

LEAST_SIDE = 32
TIMES = ("latency_ms", "latency_iqr_ms", "peak_memory_mib")
ONLY_TIMED = ("batch_sizes", "seconds")
"""Settings that nothing depends on where nothing is timed."""


@dataclass
class ScalingSettings:
    """At which sizes the network is counted, and timed.

    Attributes:
        sides: of square images, in pixels.
        rectangles: rows and columns of further images, e.g. 224x448.
        memory_gib: of a device: the largest batch, and image, that a training step on it may have is told.
        time: also time inference and training steps here, which allocates the network and needs the device.
        batch_sizes: images per step where steps are timed.
        seconds: how long each is timed.
    """

    name: str = "scaling"
    sides: list[int] = field(default_factory=lambda: [112, 160, 224, 320, 448, 640, 1024])
    rectangles: list[str] = field(default_factory=lambda: ["224x448", "448x896"])
    memory_gib: float = 16.0
    time: bool = False
    batch_sizes: list[int] = field(default_factory=lambda: [1, 8])
    seconds: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        for key, holds, rule in (
            ("sides", len(set(self.sides)) == len(self.sides) >= 2, "give at least two different ones"),
            ("sides", min(self.sides, default=0) >= LEAST_SIDE, f"must be at least {LEAST_SIDE}"),
            (
                "rectangles",
                all(
                    len(shape) == 2 and all(side.isdecimal() and int(side) >= LEAST_SIDE for side in shape)
                    for shape in (text.split("x") for text in self.rectangles)
                ),
                f"give rows and columns of at least {LEAST_SIDE} pixels, as in 224x448",
            ),
            ("memory_gib", self.memory_gib > 0, "must be positive"),
            ("batch_sizes", bool(self.batch_sizes) and min(self.batch_sizes) >= 1, "give at least one, of at least 1"),
            ("seconds", self.seconds > 0, "must be positive"),
        ):
            if not holds:
                raise ValueError(f"task.{key}={getattr(self, key)}: {rule}")


def _exponent(name: str, words: str) -> Metric:
    return Metric(f"{name}_exponent", f"{words} exp.", better="lower", digits=3)


@register_task("scaling")
class ScalingTask(AnalysisTask):
    """How MACs, activations, training memory and, where asked, time grow with the size of the image and the batch."""

    title = "Scaling"
    says = (
        "Exponents of power laws through the costs of square images, by their pixels: 1 is proportional. Memory is "
        "what a training step keeps in float32, counted, not measured; the largest batch is of the cell's resolution."
    )
    settings = ScalingSettings
    metrics = (
        *COSTS,
        _exponent("macs", "MACs"),
        _exponent("activations", "activations"),
        _exponent("memory", "memory"),
        _exponent("inference_time", "inference"),
        _exponent("training_time", "training"),
        Metric("largest_batch", "largest batch", better="higher", least=0, whole=True),
        Metric("largest_side_px", "largest side", unit="px", better="higher", digits=0, least=0),
    )
    uses = ("precision", "device")
    reads = ()
    code = (
        "analysis/complexity.py",
        "analysis/op_macs.py",
        "analysis/tracing.py",
        "analysis/speed",
        "analysis/peak_memory.py",
        "analysis/scaling/growth.py",
        "analysis/scaling/training_memory.py",
    )
    needs_weights = False
    is_timed = True

    def defining(self, config: Config) -> dict[str, Any]:
        defining = Task.defining(self, config)
        if not config["task"]["time"]:  # counts are the same everywhere
            defining = {key: value for key, value in defining.items() if key not in self.uses}
            defining["task"] = {key: value for key, value in defining["task"].items() if key not in ONLY_TIMED}
        return defining

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        from training.progress import Progress
        from training.whole_file import write_whole

        from .from_config.cost import with_costs
        from .from_config.network import network_spec

        config, settings, spec = cell.config, ScalingSettings(**cell.config["task"]), network_spec(cell.config)
        sizes = _sizes(settings, spec.img_size)
        kept = cell.directory / VIEWS / hooks.version
        found: dict[str, list[dict[str, Any]]] = {}
        with Progress("scaling", hooks.show_progress) as progress:
            progress.begin(len(sizes))
            for rows, columns in sizes:
                file = kept / f"{rows}x{columns}.json"
                if not file.exists():
                    at_size = replace(spec, img_size=(rows, columns))
                    measured = [_counted(at_size), *(_timed(at_size, config, settings) if settings.time else ())]
                    kept.mkdir(parents=True, exist_ok=True)
                    write_whole(file, json.dumps(measured).encode())
                found[file.name] = json.loads(file.read_text())
                progress.advance(f"{rows}×{columns}")
        observations = [row for rows in found.values() for row in rows]
        grown = list(_growths(observations, settings))
        results = {
            f"{growth['cost']}_exponent": growth["exponent"] for growth in grown if growth["against"] == "pixels"
        }
        results |= _fitting(observations, settings, spec)
        results = with_costs(spec, results)
        return {**results, "details": {**results["details"], "observations": [*observations, *grown]}}

    def charts(self, observations: "pd.DataFrame", look: "Mapping[str, Style]") -> "Iterable[Chart]":
        from analysis.scaling.charts import scaling_charts

        return scaling_charts(observations, look)


def _sizes(settings: ScalingSettings, own: tuple[int, int]) -> list[tuple[int, int]]:
    """Each once, the smallest first; the cell's own resolution is among them."""
    squares = [(side, side) for side in settings.sides]
    rectangles = [(int(rows), int(columns)) for rows, columns in (text.split("x") for text in settings.rectangles)]
    return sorted({*squares, *rectangles, own}, key=lambda size: (size[0] * size[1], size))


def _counted(spec: "NetworkSpec") -> dict[str, Any]:
    """Of one image, without allocating anything."""
    import torch

    from analysis.scaling import training_memory
    from architectures import build_network

    from .from_config.cost import describe, totals

    with torch.device("meta"):
        network = build_network(spec)
    memory = training_memory(network, spec.img_size, spec.in_chans)
    return {
        "kind": "counted",
        **_place(spec),
        **totals(describe(spec)),
        "memory_mib": memory.mib(1),
        "memory_fixed_bytes": memory.fixed_bytes,
        "memory_bytes_an_image": memory.bytes_an_image,
    }


def _place(spec: "NetworkSpec") -> dict[str, int]:
    rows, columns = spec.img_size
    return {"rows": rows, "columns": columns, "pixels": rows * columns}


def _timed(spec: "NetworkSpec", config: Config, settings: ScalingSettings) -> Iterator[dict[str, Any]]:
    """One row for each mode and batch size; without a time, and with the reason, where there is none to be had."""
    from analysis.settings import Mode, SpeedSettings
    from analysis.speed import Candidate, measure
    from architectures import build_network

    from .from_config.device import device_of
    from .from_config.labels import network_label

    candidate = Candidate(network_label(config), lambda resolution: build_network(spec))
    for mode, batch_size in product(Mode, settings.batch_sizes):
        how = SpeedSettings(
            modes=[mode], batch_sizes=[batch_size], seconds=settings.seconds, warmup_seconds=settings.seconds / 2
        )
        place = {"kind": "timed", **_place(spec), "mode": str(mode), "batch_size": batch_size}
        try:
            (row,) = measure(
                [candidate], how, resolution=spec.img_size, precision=config["precision"], device=device_of(config)
            )
        except ValueError as error:  # a batch norm does not learn from one image whose map is one pixel
            yield place | dict.fromkeys(TIMES) | {"status": "failed", "reason": str(error)}
            continue
        yield place | {key: row[key] for key in ("status", "reason", *TIMES)}


def _growths(observations: Sequence[Mapping[str, Any]], settings: ScalingSettings) -> Iterator[dict[str, Any]]:
    """Power laws through the square images, and of times also through the batch sizes."""
    from analysis.scaling import growth

    squares = [row for row in observations if row["rows"] == row["columns"] and row["rows"] in settings.sides]
    counted = [row for row in squares if row["kind"] == "counted"]
    timed = [row for row in squares if row["kind"] == "timed" and row["latency_ms"] is not None]
    largest = max(settings.batch_sizes)
    series = [(cost, "pixels", counted, key) for cost, key in (("macs", "macs"), ("activations", "activations"))]
    series.append(("memory", "pixels", counted, "memory_bytes_an_image"))
    for mode in ("inference", "training"):
        of_mode = [row for row in timed if row["mode"] == mode]
        series += [
            (f"{mode}_time", "pixels", [row for row in of_mode if row["batch_size"] == largest], "latency_ms"),
            (
                f"{mode}_time",
                "batch_size",
                [row for row in of_mode if row["rows"] == min(settings.sides)],
                "latency_ms",
            ),
        ]
    for cost, against, rows, key in series:
        if found := growth([row[against] for row in rows], [row[key] for row in rows]):
            yield {
                "kind": "growth",
                "cost": cost,
                "against": against,
                "exponent": found.exponent,
                "exponent_low": found.low,
                "exponent_high": found.high,
            }


def _fitting(
    observations: Sequence[Mapping[str, Any]], settings: ScalingSettings, spec: "NetworkSpec"
) -> dict[str, float | None]:
    from analysis.scaling import TrainingMemory, largest_within

    mib = 1024 * settings.memory_gib
    counted = [row for row in observations if row["kind"] == "counted"]
    own = next(row for row in counted if (row["rows"], row["columns"]) == spec.img_size)
    squares = [row for row in counted if row["rows"] == row["columns"]]
    memory = TrainingMemory(own["memory_fixed_bytes"], own["memory_bytes_an_image"])
    side = largest_within([row["rows"] for row in squares], [row["memory_mib"] for row in squares], mib)
    return {"largest_batch": memory.largest_batch(mib), "largest_side_px": side}
