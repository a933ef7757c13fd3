"""A candidate under one set of conditions: from building it to a step that is warmed up."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from architectures.inference import inference_form
from mixers.kernels.used import MIXING, summary, used_implementations

from ..peak_memory import PeakMemory
from ..settings import MemoryFormat, Mode, SpeedSettings
from .candidate import Candidate, Resolution
from .steps import Autocast, Step, forward_and_backward_step, inference_step, training_step
from .traffic import compulsory_bytes
from .turns import Runner, latencies

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MEMORY_FORMATS = {
    MemoryFormat.contiguous: torch.contiguous_format,
    MemoryFormat.channels_last: torch.channels_last,
}
# Gradients of the input and of the parameters take as many products each as the forward pass.
TRAINING_FACTOR = 3
# What computes where no operation that mixes has a choice.
PYTORCH = "torch"


@dataclass(frozen=True)
class Prepared:
    """A warmed-up entrant; `moved` is the bytes that a step has to move, None where nobody counted them."""

    runner: Runner
    peak_mib: float | None
    warmup_seconds: float
    moved: int | None
    params: int
    implementation: str


@dataclass(frozen=True)
class Entrant:
    """A candidate and how it is run."""

    candidate: Candidate
    mode: Mode
    compiled: bool
    precision: str
    batch_size: int
    resolution: Resolution

    def conditions(self) -> dict[str, Any]:
        """What its row says of it."""
        height, width = self.resolution
        return {
            "candidate": self.candidate.name,
            "config": dict(self.candidate.config),
            "subject": "network" if self.candidate.dim is None else "mixer",
            "dim": self.candidate.dim,
            "mode": str(self.mode),
            "compiled": self.compiled,
            "precision": self.precision,
            "batch_size": self.batch_size,
            **({"memory_format": str(own)} if (own := self.candidate.memory_format) else {}),
            "resolution": height,
            "columns": None if width == height else width,
        }

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of a step."""
        if self.candidate.macs is None:
            return None
        factor = TRAINING_FACTOR if self.mode == Mode.training else 1
        return factor * self.batch_size * self.candidate.macs(self.resolution)

    def prepare(self, settings: SpeedSettings, device: torch.device, in_chans: int) -> Prepared:
        """Build it and run it until allocators, caches and clocks have settled."""
        memory = PeakMemory(device)
        memory_format = MEMORY_FORMATS[self.candidate.memory_format or MemoryFormat(settings.memory_format)]
        module = self.candidate.build(self.resolution).to(device=device)
        module.train(self.mode == Mode.training)
        if self.candidate.dim is None:
            x = torch.randn(self.batch_size, in_chans, *self.resolution, device=device).to(memory_format=memory_format)
        else:
            x = torch.randn(self.batch_size, *self.resolution, self.candidate.dim, device=device)
        if self.candidate.pure:
            module, x = module.to(self.dtype), x.to(self.dtype)
        else:
            module = module.to(memory_format=memory_format)
        cast = self.dtype != torch.float32 and not self.candidate.pure
        autocast = torch.autocast(device.type, self.dtype) if cast else nullcontext()
        with used_implementations() as used:
            moved = None if self.candidate.dim is None else self._moved(module, x, autocast)
            started = time.perf_counter()
            run = inference_form(module) if self.mode == Mode.inference else module
            step = self._step(torch.compile(run) if self.compiled else run, module, x, autocast)
            step_seconds = _warm_up(step, settings, device)
            warmup_seconds = time.perf_counter() - started
        memory.reset_peak()
        step()
        return Prepared(
            Runner(step, step_seconds),
            memory.peak_mib(),
            warmup_seconds,
            moved,
            params=sum(parameter.numel() for parameter in module.parameters()),
            implementation=summary({noted for noted in used if noted[0] in MIXING}) or PYTORCH,
        )

    def _moved(self, module: nn.Module, x: Tensor, autocast: Autocast) -> int:
        with torch.no_grad(), autocast:
            output = module(x)
        return compulsory_bytes(x, output, module.parameters(), training=self.mode == Mode.training)

    def _step(self, run: nn.Module, module: nn.Module, x: Tensor, autocast: Autocast) -> Step:
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if self.mode == Mode.inference:
            return inference_step(run, x, autocast)
        if self.candidate.dim is not None:
            return forward_and_backward_step(run, parameters, x, autocast)
        scaler = torch.amp.GradScaler(x.device.type, enabled=self.dtype == torch.float16)
        return training_step(run, parameters, x, autocast, scaler)


def _warm_up(step: Step, settings: SpeedSettings, device: torch.device) -> float:
    """Runs `step` at least as long and as often as `settings` say. Returns the seconds that the fastest step took."""
    durations: list[float] = []
    started = time.perf_counter()
    while len(durations) < settings.warmup_steps or time.perf_counter() - started < settings.warmup_seconds:
        durations += latencies(step, 1, device)
    return min(durations) / 1000


def telling_name(entrant: Entrant, entrants: Sequence[Entrant]) -> str:
    """What tells it from the others, e.g. `halo compiled`, or nothing where it is alone."""
    names = {
        "candidate": entrant.candidate.name,
        "precision": entrant.precision,
        "compiled": "compiled" if entrant.compiled else "eager",
    }
    differing = {
        key: len({other.conditions()[key] for other in entrants}) > 1 for key in ("candidate", "precision", "compiled")
    }
    return " ".join(name for key, name in names.items() if differing[key])
