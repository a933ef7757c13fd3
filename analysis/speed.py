"""How fast a network is, and how much memory it takes: one row for each way of running it.

A step is timed many times after a warm-up and the row has the median and the quartiles, with everything that a speed
depends on beside it. Running out of memory is an outcome of its own, never a smaller batch.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise, product
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from .environment import environment
from .peak_memory import PeakMemory
from .settings import MemoryFormat, Mode, SpeedSettings

AUTOCAST_TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
MEMORY_FORMATS = {
    MemoryFormat.contiguous: torch.contiguous_format,
    MemoryFormat.channels_last: torch.channels_last,
}

Row = dict[str, Any]
Step = Callable[[], object]


def measure(
    build: Callable[[int], nn.Module],
    settings: SpeedSettings,
    *,
    precision: str = "fp32",
    device: str = "cpu",
    in_chans: int = 3,
    show_progress: bool = False,
) -> list[Row]:
    """Times every mode × compiled × batch size × resolution of `settings`, each with a freshly built network.

    Args:
        build: makes the float32 network for square images of so many pixels a side.
        precision: fp32, or bf16 or fp16 through autocast (fp16 training with scaled gradients).
        device: "cpu", "cuda" or "cuda:1".
        show_progress: writes what is being timed, and each finished row, to standard error.

    Returns:
        Rows with the conditions (mode, compiled, precision, batch_size, resolution, memory_format, tf32,
        cudnn_benchmark, threads), the environment's fingerprint, and `status`: "completed" with latency_ms (median),
        latency_iqr_ms, latency_p95_ms, images_per_second, peak_memory_mib, steps and warmup_seconds (compilation
        included), or "out_of_memory" with the reason and None for each of these.

    Raises:
        ValueError: an unknown precision.
    """
    if precision not in AUTOCAST_TYPES:
        raise ValueError(f"precision={precision!r}: choose from {', '.join(AUTOCAST_TYPES)}")
    console = Console(file=sys.stderr, quiet=not show_progress)
    rows = []
    with _backends(settings):
        fingerprint = environment(device)["fingerprint"]
        for resolution, batch_size, compiled, mode in product(
            settings.resolutions, settings.batch_sizes, settings.compiled, settings.modes
        ):
            conditions = {
                "mode": str(mode),
                "compiled": compiled,
                "precision": precision,
                "batch_size": batch_size,
                "resolution": resolution,
                "memory_format": str(settings.memory_format),
                "tf32": settings.tf32,
                "cudnn_benchmark": settings.cudnn_benchmark,
                "threads": torch.get_num_threads(),
                "fingerprint": fingerprint,
            }
            with console.status(_headline(conditions)):
                results = _outcome(build, settings, conditions, torch.device(device), in_chans)
            rows.append(conditions | results)
            console.print(_line(rows[-1]), highlight=False, markup=False, soft_wrap=True)
    return rows


def _headline(conditions: Row) -> str:
    return (
        f"{conditions['mode']} {'compiled' if conditions['compiled'] else 'eager'} {conditions['precision']} "
        f"batch {conditions['batch_size']} at {conditions['resolution']}²"
    )


def _line(row: Row) -> str:
    if row["status"] != "completed":
        return f"{_headline(row)}: {row['reason']}"
    memory = "" if row["peak_memory_mib"] is None else f", {row['peak_memory_mib']:.0f} MiB"
    return (
        f"{_headline(row)}: {row['images_per_second']:.1f} images/s, "
        f"{row['latency_ms']:.2f} ms ± {row['latency_iqr_ms']:.2f}{memory}"
    )


RESULTS = (
    "latency_ms",
    "latency_iqr_ms",
    "latency_p95_ms",
    "images_per_second",
    "peak_memory_mib",
    "steps",
    "warmup_seconds",
)


def _outcome(
    build: Callable[[int], nn.Module], settings: SpeedSettings, conditions: Row, device: torch.device, in_chans: int
) -> Row:
    try:
        results = _results(build, settings, conditions, device, in_chans)
        return {"status": "completed", "reason": None, **results}
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()[0]
    return {"status": "out_of_memory", "reason": reason, **dict.fromkeys(RESULTS)}


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the GPU's or the CPU's allocator raised it; the latter has no exception type of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _results(
    build: Callable[[int], nn.Module], settings: SpeedSettings, conditions: Row, device: torch.device, in_chans: int
) -> Row:
    if conditions["compiled"]:
        torch.compiler.reset()
    memory = PeakMemory(device)
    memory_format = MEMORY_FORMATS[MemoryFormat(settings.memory_format)]
    network = build(conditions["resolution"]).to(device=device, memory_format=memory_format)
    shape = (conditions["batch_size"], in_chans, conditions["resolution"], conditions["resolution"])
    images = torch.randn(shape, device=device).to(memory_format=memory_format)
    dtype = AUTOCAST_TYPES[conditions["precision"]]
    autocast = nullcontext() if dtype is None else torch.autocast(device.type, dtype)
    run = torch.compile(network) if conditions["compiled"] else network
    if conditions["mode"] == Mode.training:
        network.train()
        step = _training_step(run, images, autocast, torch.amp.GradScaler(device.type, enabled=dtype == torch.float16))
    else:
        network.eval()
        step = _inference_step(run, images, autocast)

    started = time.perf_counter()
    step_seconds = _warm_up(step, settings, device)
    warmup_seconds = time.perf_counter() - started
    steps = min(max(round(settings.seconds / step_seconds), settings.min_steps), settings.max_steps)
    memory.reset_peak()
    latencies = _latencies(step, steps, device)
    lower, median, upper = statistics.quantiles(latencies, n=4, method="inclusive")
    return {
        "latency_ms": median,
        "latency_iqr_ms": upper - lower,
        "latency_p95_ms": statistics.quantiles(latencies, n=20, method="inclusive")[-1],
        "images_per_second": conditions["batch_size"] / median * 1000,
        "peak_memory_mib": memory.peak_mib(),
        "steps": steps,
        "warmup_seconds": warmup_seconds,
    }


def _inference_step(network: Step, images: Tensor, autocast: AbstractContextManager[Any]) -> Step:
    def step() -> None:
        with torch.no_grad(), autocast:
            network(images)

    return step


def _training_step(
    network: nn.Module, images: Tensor, autocast: AbstractContextManager[Any], scaler: torch.amp.GradScaler
) -> Step:
    optimizer = torch.optim.AdamW(network.parameters())
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)

    def step() -> None:
        with autocast:
            logits = network(images)
            # A network with several heads trains each of them.
            heads = [logits] if isinstance(logits, Tensor) else logits
            loss = sum(F.cross_entropy(head, labels) for head in heads)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def _warm_up(step: Step, settings: SpeedSettings, device: torch.device) -> float:
    """Runs `step` until allocators, caches and clocks have settled. Returns the seconds that the fastest step took."""
    durations: list[float] = []
    started = time.perf_counter()
    while len(durations) < settings.warmup_steps or time.perf_counter() - started < settings.warmup_seconds:
        durations += _latencies(step, 1, device)
    return min(durations) / 1000


def _latencies(step: Step, steps: int, device: torch.device) -> list[float]:
    """Milliseconds of each of `steps` steps. On a GPU its own clock is read, and the steps follow without a pause."""
    if device.type != "cuda":
        ends = [time.perf_counter()]
        for _ in range(steps):
            step()
            ends.append(time.perf_counter())
        return [1000 * (end - start) for start, end in pairwise(ends)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        step()
        event.record()
    torch.cuda.synchronize(device)
    return [start.elapsed_time(end) for start, end in pairwise(events)]


@contextmanager
def _backends(settings: SpeedSettings) -> Iterator[None]:
    """torch's process-wide switches as `settings` has them, and as they were afterwards."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = (
        torch.get_num_threads(),
        torch.backends.cudnn.benchmark,
        matmul.fp32_precision,
        convolution.fp32_precision,
    )
    try:
        _set_backends(
            settings.threads or before[0], settings.cudnn_benchmark, *["tf32" if settings.tf32 else "ieee"] * 2
        )
        yield
    finally:
        _set_backends(*before)


def _set_backends(threads: int, cudnn_benchmark: bool, matmul_precision: str, convolution_precision: str) -> None:
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = cudnn_benchmark
    torch.backends.cuda.matmul.fp32_precision = matmul_precision
    torch.backends.cudnn.conv.fp32_precision = convolution_precision
