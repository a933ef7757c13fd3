"""Times every candidate under every set of conditions: one row for each.

A step is timed many times after a warm-up and the row has the median and the quartiles, with everything that a speed
depends on beside it. Running out of memory is an outcome of its own, never a smaller batch.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from rich.console import Console
from rich.status import Status

from ..environment import environment
from ..noise import iqr_percent
from ..settings import PRECISIONS, SpeedSettings
from .backends import backends
from .candidate import Candidate, Resolution
from .entrant import Entrant, Prepared, telling_name
from .lines import headline, line
from .machine_rates import MachineRates
from .memory_exhaustion import is_out_of_memory
from .ratio import speedup
from .turns import take_turns

RESULTS = (
    "latency_ms",
    "latency_iqr_ms",
    "latency_p95_ms",
    "iqr_percent",
    "images_per_second",
    "gmacs_per_second",
    "gb_per_second",
    "matrix_product_gmacs_per_second",
    "product_share_percent",
    "copy_gb_per_second",
    "copy_share_percent",
    "peak_memory_mib",
    "params",
    "macs",
    "implementation",
    "steps",
    "turns",
    "warmup_seconds",
    "speedup",
    "speedup_low",
    "speedup_high",
    "speedup_over",
)

Row = dict[str, Any]


def measure(
    candidates: Sequence[Candidate],
    settings: SpeedSettings,
    *,
    resolution: Resolution = (224, 224),
    precision: str = "fp32",
    device: str = "cpu",
    in_chans: int = 3,
    show_progress: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Times every candidate under every resolution × batch size × mode × precision × eager or compiled of `settings`.

    What has resolution, batch size and mode in common takes turns, in this one process.

    Args:
        resolution: rows and columns where `settings.resolutions` is empty.
        precision: where `settings.precisions` is empty: fp32, or bf16 or fp16 through autocast (fp16 training of a
            network with scaled gradients).
        device: "cpu", "cuda" or "cuda:1".
        show_progress: writes what is being timed, and each finished row, to standard error.
        tell: called with what is being timed, for whoever shows progress in a way of their own.

    Returns:
        Rows with the candidate's name, `config`, `subject` and `dim`, the conditions (mode, compiled, precision,
        batch_size, resolution, `columns` where they differ from the rows, memory_format, tf32, cudnn_benchmark,
        threads), the environment's fingerprint, and `status`: "completed", or "out_of_memory" with the reason. The
        RESULTS are None where they were not measured: all of them out of memory, the speedups (how many times as fast
        as `speedup_over`, with the limits of the 95 % confidence interval) of what was alone or is the reference.

    Raises:
        ValueError: an unknown precision, or a reference that is no candidate.
    """
    precisions = [str(value) for value in settings.precisions] or [precision]
    for value in precisions:
        if value not in PRECISIONS:
            raise ValueError(f"precision={value!r}: choose from {', '.join(PRECISIONS)}")
    names = [candidate.name for candidate in candidates]
    if settings.against is not None and settings.against not in names:
        raise ValueError(f"task.against={settings.against}: choose from {', '.join(names)}")
    resolutions = [(side, side) for side in settings.resolutions] or [resolution]
    console = Console(file=sys.stderr, quiet=not show_progress)
    rows: list[Row] = []
    with backends(settings):
        common = {
            "memory_format": str(settings.memory_format),
            "tf32": settings.tf32,
            "cudnn_benchmark": settings.cudnn_benchmark,
            "threads": torch.get_num_threads(),
            "fingerprint": environment(device)["fingerprint"],
        }
        for shape, batch_size, mode in product(resolutions, settings.batch_sizes, settings.modes):
            entrants = [
                Entrant(candidate, mode, compiled, value, batch_size, shape)
                for candidate, value in product(candidates, precisions)
                for compiled in settings.compiled
                if candidate.compiled is None or compiled in candidate.compiled
            ]
            with console.status("") as status:

                def show(text: str, status: Status = status) -> None:
                    status.update(text)
                    tell(text)

                results = _contest(entrants, settings, torch.device(device), in_chans, show)
            found = [common | entrant.conditions() | result for entrant, result in zip(entrants, results, strict=True)]
            for row in found:
                console.print(line(row), highlight=False, markup=False, soft_wrap=True)
            rows += found
    return rows


def _contest(
    entrants: Sequence[Entrant],
    settings: SpeedSettings,
    device: torch.device,
    in_chans: int,
    show: Callable[[str], None],
) -> list[Row]:
    """The results of `entrants`, which take turns; `show` is told what is being done."""
    if any(entrant.compiled for entrant in entrants):
        torch.compiler.reset()
    prepared: list[Prepared | str] = []
    for entrant in entrants:
        show(f"{headline(entrant.conditions())}: warming up")
        prepared.append(_prepare(entrant, settings, device, in_chans))
    runners = [outcome.runner for outcome in prepared if isinstance(outcome, Prepared)]
    rates = None
    if runners and settings.machine_rates:
        rates = MachineRates(device, {entrant.dtype for entrant in entrants})
        runners += rates.runners
    what = headline(entrants[0].conditions(), name_it=len({entrant.candidate.name for entrant in entrants}) == 1)
    take_turns(runners, settings, device, lambda turn, turns: show(f"{what}: turn {turn + 1}/{turns}"))
    rows = [_row(entrant, outcome, rates) for entrant, outcome in zip(entrants, prepared, strict=True)]
    for index, entrant in enumerate(entrants):
        reference = _reference(entrant, entrants, settings.against)
        if reference != index and "completed" == rows[index]["status"] == rows[reference]["status"]:
            ratio = speedup(prepared[index].runner.medians, prepared[reference].runner.medians)
            rows[index] |= {
                "speedup": ratio.value,
                "speedup_low": ratio.low,
                "speedup_high": ratio.high,
                "speedup_over": telling_name(entrants[reference], entrants),
            }
    return rows


def _prepare(entrant: Entrant, settings: SpeedSettings, device: torch.device, in_chans: int) -> Prepared | str:
    """The prepared entrant, or, if memory ran out, the first line of the error."""
    try:
        return entrant.prepare(settings, device, in_chans)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return str(error).strip().splitlines()[0]


def _row(entrant: Entrant, outcome: Prepared | str, rates: MachineRates | None) -> Row:
    reason = outcome if isinstance(outcome, str) else outcome.runner.exhausted
    empty = dict.fromkeys(RESULTS)
    if reason is not None:
        return {"status": "out_of_memory", "reason": reason} | empty
    latencies = outcome.runner.latencies
    lower, median, upper = statistics.quantiles(latencies, n=4, method="inclusive")
    results = {
        "latency_ms": median,
        "latency_iqr_ms": upper - lower,
        "latency_p95_ms": statistics.quantiles(latencies, n=20, method="inclusive")[-1],
        "iqr_percent": iqr_percent(median, upper - lower),
        "images_per_second": entrant.batch_size / median * 1000,
        "gmacs_per_second": None if entrant.macs is None else entrant.macs / median / 1e6,
        "gb_per_second": None if outcome.moved is None else outcome.moved / median / 1e6,
        "peak_memory_mib": outcome.peak_mib,
        "params": outcome.params,
        "macs": entrant.candidate.macs and entrant.candidate.macs(entrant.resolution),
        "implementation": outcome.implementation,
        "steps": len(latencies),
        "turns": len(outcome.runner.turns),
        "warmup_seconds": outcome.warmup_seconds,
    }
    if rates is not None:
        product, copy = rates.gmacs_per_second(entrant.dtype), rates.gb_per_second
        results |= {
            "matrix_product_gmacs_per_second": product,
            "product_share_percent": _percent(results["gmacs_per_second"], product),
            "copy_gb_per_second": copy,
            "copy_share_percent": _percent(results["gb_per_second"], copy),
        }
    return {"status": "completed", "reason": None} | empty | results


def _percent(rate: float | None, of: float) -> float | None:
    return None if rate is None else 100 * rate / of


def _reference(entrant: Entrant, entrants: Sequence[Entrant], against: str | None) -> int:
    """The index of what `entrant` is compared with.

    Of several candidates it is the one called `against`, or the first, run in the same way if it was. Of one candidate
    run in several ways it is the first way.
    """
    name = against or entrants[0].candidate.name
    of_reference = [index for index, other in enumerate(entrants) if other.candidate.name == name]
    if entrant.candidate.name == name:
        return of_reference[0] if len({other.candidate.name for other in entrants}) == 1 else entrants.index(entrant)
    how = (entrant.precision, entrant.compiled)
    alike = [index for index in of_reference if (entrants[index].precision, entrants[index].compiled) == how]
    return (alike or of_reference)[0]
