"""Times DCNv3's implementations against its `grid_sample` form at the stages of U-InternImage-tiny.

    python benchmarks/dcnv3.py --batch 8 --threads 2

One line a stage and direction: medians over alternating runs, so that drift of the machine meets all candidates alike,
and their ratios. Each candidate computes the same call; forward runs without autograd.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.kernels.dcnv3 import IMPLEMENTATIONS, dcnv3, implementation_for

STAGES = ((56, 64), (28, 128), (14, 256), (7, 512))  # side, channels at 224 x 224; 16 channels a group
POINTS = 9


def by_grid_sample(value: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """The form that needs no kernel of its own: 3 x 3 points, stride 1, padding 1."""
    batch, rows, columns, groups = weights.shape[:4]
    places = {"dtype": value.dtype, "device": value.device}
    side = torch.arange(-1, 2, **places)
    steps = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).reshape(POINTS, 2)
    pixels = torch.meshgrid(torch.arange(columns, **places), torch.arange(rows, **places), indexing="xy")
    positions = torch.stack(pixels, -1)[:, :, None, None] + steps + offsets
    grid = (2 * positions + 1) / torch.tensor((columns, rows), **places) - 1
    grid = grid.permute(0, 3, 1, 2, 4, 5).reshape(batch * groups, rows * columns, POINTS, 2)
    maps = value.unflatten(-1, (groups, -1)).permute(0, 3, 4, 1, 2).flatten(0, 1)
    samples = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    shares = weights.permute(0, 3, 1, 2, 4).reshape(batch * groups, 1, rows * columns, POINTS)
    total = (samples * shares).sum(-1).reshape(batch, groups, -1, rows, columns)
    return total.permute(0, 3, 4, 1, 2).flatten(-2)


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def medians(runs: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Milliseconds of each run; the runs take turns, and the first turn is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            seconds = seconds_of(run, device)
            if turn:
                times[name].append(seconds)
    return {name: 1000 * statistics.median(seconds) for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--implementations", nargs="+", choices=IMPLEMENTATIONS, help="default: the one auto takes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    dtype, device = getattr(torch, arguments.dtype), arguments.device
    chosen = arguments.implementations or [implementation_for(torch.empty(0, dtype=dtype, device=device))]
    candidates = {"grid_sample": by_grid_sample} | {
        name: partial(dcnv3, kernel_size=3, padding=1, implementation=name) for name in chosen
    }
    print(
        f"{device}, {arguments.dtype}, batch {arguments.batch}, {arguments.threads} threads, torch {torch.__version__}"
    )
    for side, channels in STAGES:
        places = {"dtype": dtype, "device": device}
        shape = (arguments.batch, side, side, channels // 16, POINTS)
        value = torch.randn(arguments.batch, side, side, channels, **places, requires_grad=True)
        offsets = torch.randn(*shape, 2, **places, requires_grad=True)
        weights = torch.randn(shape, **places).softmax(-1).requires_grad_()
        inputs = (value, offsets, weights)
        with torch.no_grad():
            forward = medians({name: partial(f, *inputs) for name, f in candidates.items()}, arguments.repeats, device)
        outputs = {name: candidate(*inputs) for name, candidate in candidates.items()}
        grad = torch.randn_like(value)
        backward = medians(
            {name: partial(torch.autograd.grad, o, inputs, grad, retain_graph=True) for name, o in outputs.items()},
            arguments.repeats,
            device,
        )
        for direction, times in (("forward", forward), ("backward", backward)):
            columns = (f"{n} {ms:8.2f} ms ({times['grid_sample'] / ms:5.2f}x)" for n, ms in times.items())
            print(f"{side:3} x {side:<3} C {channels:<4} {direction:8}  " + "   ".join(columns))


if __name__ == "__main__":
    main()
