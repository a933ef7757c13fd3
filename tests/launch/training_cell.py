"""A program that trains a tiny network on the digits as a cell, to be killed, starved and interrupted by tests.

`python -m tests.launch.training_cell OUTPUT [key=value ...]` takes the keys of `make_training_cell`, `fault=NAME`,
and `at_rank=N` where only one of several ranks shall have that fault.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from torch import Tensor, nn

import architectures
import training.checkpoint
from analysis.record import write_record
from launch import Cell, execute
from launch.interruption import Preempted, exit_status
from tasks.from_config import cost
from tests.training.examples import TinyNetwork, brief, small_digits
from training.distributed import ranks_of
from training.whole_file import write_whole

from .cells import make_cell

# Everything that draws random numbers or keeps state is switched on, and images come from data workers.
RECIPE = {
    "mixup": 0.8,
    "cutmix": 1.0,
    "mix_probability": 0.8,
    "cutmix_share": 0.5,
    "random_erasing": 0.3,
    "color_jitter": 0.4,
    "augmentation_repeats": 3,
    "ema_decay": 0.9,
    "accumulation": 2,
}


def make_training_cell(
    output: Path | str,
    *,
    epochs: int = 3,
    workers: int = 0,
    minutes: float | None = None,
    plain: bool = False,
    num_classes: int = 10,
    keep: bool = False,
) -> Cell:
    """Three steps an epoch. `plain` has no augmentation that needs images one by one, and is many times faster."""
    recipe = brief(epochs=epochs, **{} if plain else RECIPE)
    return make_cell(
        output,
        data=vars(small_digits(workers=workers, num_classes=num_classes)),
        recipe=vars(recipe),
        task={"name": "train", "checkpoint_minutes": minutes, "keep_trainer_state": keep},
    )


class SlowNetwork(TinyNetwork):
    """Takes its time, so that a signal finds it at work."""

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(0.05 if self.training else 0.0)
        return super().forward(images)


class GreedyNetwork(TinyNetwork):
    """Needs more memory in its fifth step than the process may have."""

    step = 0

    def forward(self, images: Tensor) -> Tensor:
        self.step += self.training
        if self.step == 5:
            in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**26, -1))
            torch.ones(2**28)
        return super().forward(images)


def die_while_writing(path: Path, content: bytes) -> None:
    """In place of `write_whole`: half of the second state gets to the disk."""
    if path.name == "trainer_step_00000006.pt":
        with open(path.with_name(f".{path.name}.{os.getpid()}"), "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    write_whole(path, content)


def die_before_completion(path: Path, record: Mapping[str, Any]) -> None:
    """In place of `write_record`: the run has ended, and nobody has noted it yet."""
    if record["status"] == "completed":
        os.kill(os.getpid(), signal.SIGKILL)
    write_record(path, record)


def use(network: type[nn.Module]) -> None:
    """Cells train this network, whatever they name."""
    architectures.build_network = lambda spec: network()
    cost.describe = lambda spec: SimpleNamespace(params=1, macs=1, activations=1)  # a record of none is refused
    cost.size_of = lambda spec: {}


def main(output: str, *arguments: str) -> int:
    options = {key: yaml.safe_load(value) for key, value in (argument.split("=") for argument in arguments)}
    fault, rank = options.pop("fault", None), ranks_of().rank
    if options.pop("at_rank", rank) != rank:
        fault = None
    use({"slow": SlowNetwork, "greedy": GreedyNetwork}.get(fault, TinyNetwork))
    if fault == "die_while_writing":
        training.checkpoint.write_whole = die_while_writing
    if fault == "die_before_completion":
        sys.modules["launch.execute"].write_record = die_before_completion
    try:
        outcome = execute(make_training_cell(output, **options), show_progress=False)
    except (KeyboardInterrupt, Preempted) as stop:
        return exit_status(stop)
    print(outcome.status, outcome.record["reason"])
    return 0 if outcome.status == "completed" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
