"""Where the time of a network's step goes on the CPU, and how much faster the step could be if only products took time.

    python -m benchmarks.anatomy unified_swin_tiny unified_dcn_v3_tiny --batch 8

Steps of ours and of the baseline take turns; then PyTorch's profiler says what ours spends in matrix products and
convolutions (whose work no form of the network can avoid), in mixers' own kernels, in the optimiser and in the rest.
The limit is the baseline's time by that of our products alone: what ours would reach if all else cost nothing.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from analysis.settings import Mode
from analysis.speed.entrant import MEMORY_FORMATS
from analysis.speed.steps import Step, inference_step, training_step
from analysis.speed.turns import latencies
from architectures import NetworkSpec
from architectures.inference import inference_form
from launch.terminal import accept_any_encoding
from tasks.from_config.cost import describe

from .arguments import count, threads
from .candidates import BASELINE, LAYOUTS, OURS, build
from .entries import MODES, contents

KINDS = {
    "products": ("_linear_pointwise", "addmm", "mm", "bmm", "baddbmm", "mkldnn_convolution", "convolution_backward"),
    "mixers' kernels": ("local_attention", "dcnv3", "depthwise", "softmax", "_scaled_dot_product"),
    "optimiser": ("_fused_adamw_",),
}
REST = "the rest"
CPU = torch.device("cpu")


def kind_of(operation: str) -> str:
    """Which of KINDS an operation's own time belongs to, by its name, e.g. `aten::addmm_` or `stmbench_cpp::dcnv3`."""
    name = operation.rpartition("::")[2]
    for kind, names in KINDS.items():
        exact = kind == "products"
        if any(name.rstrip("_") == own or (not exact and name.startswith(own)) for own in names):
            return kind
    return REST


def milliseconds_by_kind(step: Step, repeats: int) -> dict[str, float]:
    """Medians over profiled steps, in the order of KINDS."""
    found = []
    for _ in range(repeats):
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            step()
        times = Counter(dict.fromkeys([*KINDS, REST], 0.0))
        for event in profiler.key_averages():
            times[kind_of(event.key)] += event.self_cpu_time_total / 1000
        found.append(times)
    return {kind: statistics.median(times[kind] for times in found) for kind in [*KINDS, REST]}


def step_of(entry: str, which: str, mode: str, batch_size: int) -> Step:
    memory_format = MEMORY_FORMATS[LAYOUTS[which]]
    network = build(entry, which).to(memory_format=memory_format).train(mode == Mode.training)
    images = torch.randn(batch_size, 3, 224, 224).to(memory_format=memory_format)
    if mode == Mode.inference:
        return inference_step(inference_form(network), images, nullcontext())
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return training_step(network, list(network.parameters()), images, nullcontext(), scaler)


def row(entry: str, mode: str, batch_size: int, repeats: int) -> list[str]:
    """Name, baseline ms, ours ms, ratio, ms of each kind, GMAC/s of the products, limit of the ratio."""
    steps = {which: step_of(entry, which, mode, batch_size) for which in (BASELINE, OURS)}
    times: dict[str, list[float]] = {which: [] for which in steps}
    for step in steps.values():
        latencies(step, 2, CPU)  # warms up
    for _ in range(repeats):
        for which, step in steps.items():
            times[which] += latencies(step, 1, CPU)
    baseline, ours = (statistics.median(times[which]) for which in (BASELINE, OURS))
    kinds = milliseconds_by_kind(steps[OURS], repeats)
    macs = describe(NetworkSpec(entry)).macs * batch_size * (3 if mode == Mode.training else 1)
    products = kinds["products"]
    return [
        f"{entry} {mode} batch {batch_size}",
        *(f"{number:.0f}" for number in (baseline, ours)),
        f"{baseline / ours:.2f}",
        *(f"{kinds[kind]:.0f}" for kind in kinds),
        f"{macs / products / 1e6:.0f}",
        f"{baseline / products:.2f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    accept_any_encoding()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anatomy", description=__doc__.splitlines()[0])
    parser.add_argument("entries", nargs="*", default=list(contents()["networks"]), metavar="ENTRY")
    parser.add_argument("--mode", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--batch", type=count, default=8)
    parser.add_argument("--threads", type=threads, default=2)
    parser.add_argument("--repeats", type=count, default=7)
    options = parser.parse_args(arguments)
    if unknown := set(options.entries) - set(contents()["networks"]):
        parser.error(f"no network {', '.join(sorted(unknown))}: choose from {', '.join(contents()['networks'])}")
    torch.set_num_threads(options.threads)
    table = Table("step", "baseline ms", "ours ms", "ratio", *KINDS, REST, "products GMAC/s", "limit of the ratio")
    for entry in options.entries:
        for mode in options.mode:
            if mode == Mode.training and options.batch < contents()["networks"][entry].get(
                "smallest_training_batch", 1
            ):
                continue
            table.add_row(*row(entry, mode, options.batch, options.repeats))
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


if __name__ == "__main__":
    main()
