"""Peak memory of a training step, in a process of its own, so that nothing else of a measurement is in it.

    python -m benchmarks.memory unified_halo_tiny baseline 8 2

prints the MiB of resident memory that the network and its training steps added at the most.
"""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import torch

from analysis.peak_memory import PeakMemory
from analysis.speed.entrant import MEMORY_FORMATS
from analysis.speed.steps import training_step

from .candidates import LAYOUTS, build

REPOSITORY = Path(__file__).resolve().parents[1]
# The first step allocates the optimiser's state, the second has it beside everything else.
STEPS = 2


def training_peak_mib(entry: str, which: str, batch_size: int, threads: int) -> float | None:
    """Of a float32 training step on the CPU, measured by another process; None where the system does not tell.

    Raises:
        RuntimeError: that process failed; its last words are in the message.
    """
    arguments = [entry, which, str(batch_size), str(threads)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"peak memory of {entry} ({which}) could not be measured: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def main(entry: str, which: str, batch_size: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    memory = PeakMemory(torch.device("cpu"))
    memory_format = MEMORY_FORMATS[LAYOUTS[which]]
    network = build(entry, which).to(memory_format=memory_format).train()
    images = torch.randn(int(batch_size), 3, 224, 224).to(memory_format=memory_format)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    step = training_step(network, list(network.parameters()), images, nullcontext(), scaler)
    memory.reset_peak()
    for _ in range(STEPS):
        step()
    print(json.dumps(memory.peak_mib()))


if __name__ == "__main__":
    main(*sys.argv[1:])
