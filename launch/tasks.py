"""What each task does with a cell: build its network, hand it to training or analysis, return what the record keeps."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from analysis.complexity import Complexity
from analysis.settings import CountingRule, SpeedSettings
from analysis.speed import measure as measure_speed
from architectures import NetworkSpec, build_network
from mixers import load_mixer_module
from training.evaluate import evaluate
from training.loader_speed import measure_loader
from training.settings import DataSettings, EvaluateSettings, LoaderSettings, RecipeSettings, TrainSettings
from training.train import Interrupted, train

from .candidates import candidates, is_mixer_alone, own_resolution
from .cell import Cell, has_its_own
from .contents import check_contents
from .cost import describe, size_of
from .network import network_spec
from .supervision import Supervision
from .weights import load

Parts = dict[str, Any]


def perform(cell: Cell, supervision: Supervision) -> Parts:
    """Do the cell's task; the returned `results`, `rows` and `details` go into its record.

    Raises: whatever the task raises; `launch.execute` turns that into the record's reason.
    """
    if cell.config["mixer_module"]:
        load_mixer_module(cell.config["mixer_module"], (cell.config.get("contents") or {}).get("mixer_module"))
    check_contents(cell.config)
    torch.manual_seed(cell.config["seed"])
    return TASKS[cell.task](cell, supervision)


def device_of(config: Mapping[str, Any]) -> str:
    """`auto` is the first GPU where there is one; a cell whose identity names the kind of device runs on that kind.

    Raises: ValueError where a GPU is asked for that torch does not find.
    """
    device = (config.get("contents") or {}).get("device")
    kind = device["kind"] if device else config["device"]
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device=cuda: torch finds no GPU on this machine; device=auto takes the CPU where there is none"
        )
    if kind != "auto":
        return kind
    return "cuda" if torch.cuda.is_available() else "cpu"


def _totals(complexity: Complexity) -> dict[str, int]:
    return {"params": complexity.params, "macs": complexity.macs, "activations": complexity.activations}


def _about(spec: NetworkSpec, results: Mapping[str, Any] | None = None) -> Parts:
    """What every record says of its network, besides the task's `results`."""
    return {"results": _totals(describe(spec)) | dict(results or {}), "details": {"network": size_of(spec)}}


def _complexity(cell: Cell, supervision: Supervision) -> Parts:
    spec = network_spec(cell.config)
    complexity = describe(spec, CountingRule(cell.config["task"]["rule"]))
    return {"results": _totals(complexity), "details": asdict(complexity) | {"network": size_of(spec)}}


def _speed(cell: Cell, supervision: Supervision) -> Parts:
    config = cell.config
    rows = measure_speed(
        candidates(config),
        SpeedSettings(**config["task"]),
        resolution=own_resolution(config),
        precision=config["precision"],
        device=device_of(config),
        show_progress=supervision.show_progress,
    )
    of_network = has_its_own(config) and not is_mixer_alone(config)
    if not of_network:
        return {"rows": rows}
    return _about(network_spec(config)) | {"rows": rows}


def _train(cell: Cell, supervision: Supervision) -> Parts:
    config, spec = cell.config, network_spec(cell.config)
    data, recipe = DataSettings(**config["data"]), RecipeSettings(**config["recipe"])
    network = build_network(spec)
    if config["weights"]:
        load(network, spec, config["weights"], fine_tuning=True, show_progress=supervision.show_progress)
    try:
        with supervision.interruption.polled():
            results = train(
                network,
                data,
                recipe,
                directory=cell.directory,
                seed=config["seed"],
                precision=config["precision"],
                device=device_of(config),
                settings=TrainSettings(**config["task"]),
                ranks=supervision.ranks,
                on_epoch=supervision.on_epoch,
                on_progress=supervision.on_progress,
                stop_asked=supervision.interruption.asked,
                show_progress=supervision.show_progress,
            )
    except Interrupted as stop:
        raise supervision.interruption.error() from stop
    return _about(spec, results)


def _evaluate(cell: Cell, supervision: Supervision) -> Parts:
    config, spec = cell.config, network_spec(cell.config)
    settings = EvaluateSettings(**config["task"])
    data = DataSettings(**config["data"])
    network = build_network(spec)
    if config["weights"]:
        load(
            network,
            spec,
            config["weights"],
            fine_tuning=False,
            average=settings.average,
            show_progress=supervision.show_progress,
        )
    results = evaluate(
        network,
        data,
        precision=config["precision"],
        device=device_of(config),
        batch_size=settings.batch_size,
        show_progress=supervision.show_progress,
        directory=cell.directory,
    )
    return _about(spec, results)


def _loader(cell: Cell, supervision: Supervision) -> Parts:
    config = cell.config
    results = measure_loader(
        build_network(network_spec(config)),
        DataSettings(**config["data"]),
        RecipeSettings(**config["recipe"]),
        LoaderSettings(**config["task"]),
        seed=config["seed"],
        precision=config["precision"],
        device=device_of(config),
        show_progress=supervision.show_progress,
    )
    return {"results": results}


TASKS: Mapping[str, Callable[[Cell, Supervision], Parts]] = {
    "complexity": _complexity,
    "speed": _speed,
    "train": _train,
    "evaluate": _evaluate,
    "loader": _loader,
}
