"""Results as a table for the terminal, as Markdown and as JSON."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from rich.table import Table

from analysis.noise import NOISY_ABOVE_PERCENT, NOISY_SIGN

from .entries import contents
from .result import Result, Way

HEADINGS = (
    ("entry", "left"),
    ("step", "left"),
    ("batch", "right"),
    ("baseline ms", "right"),
    ("ours ms", "right"),
    ("times as fast", "right"),
    ("target", "right"),
    ("met", "left"),
    ("share of product", "right"),
    ("share of copy", "right"),
    ("compiled ms", "right"),
    ("compiled times as fast", "right"),
    ("compiled share", "right"),
    ("baseline MiB", "right"),
    ("ours MiB", "right"),
)
ENVIRONMENT_KEYS = (
    "device", "cpu", "threads", "governor", "cpu_max_mhz", "gpu_max_mhz", "driver", "cuda", "torch", "triton", "timm",
    "python", "commit", "dirty", "fingerprint",
)  # fmt: skip


def table(results: Sequence[Result]) -> Table:
    """For the terminal; without the columns that are empty."""
    headings, lines = _cells(results)
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in headings:
        made.add_column(heading, justify=justify)
    styles = {True: "green", False: "red", None: ""}
    for result, line in zip(results, lines, strict=True):
        made.add_row(*line, style=styles[result.met] if result.failure is None else "bold red")
    return made


def line(result: Result) -> str:
    """One result in one line, printed as soon as it is there."""
    if result.best is None or result.baseline is None:
        return f"{result.setting.name}: {result.failure}"
    ways = [("eager", result.eager), ("compiled", result.compiled)]
    parts = [f"{name} {_ms(way)} ms, {_ratio(way)} times as fast" for name, way in ways if way is not None]
    target = "" if result.met is None else f" (target {result.setting.target:g}, {_met(result)})"
    return f"{result.setting.name}: baseline {_ms(result.baseline)} ms; {'; '.join(parts)}{target}"


def markdown(results: Sequence[Result], environment: Mapping[str, Any], day: date) -> str:
    """The page that is kept with the repository."""
    headings, lines = _cells(results)
    known = [f"- {key}: {environment[key]}" for key in ENVIRONMENT_KEYS if environment.get(key) is not None]
    rows = [
        "| " + " | ".join(heading for heading, _ in headings) + " |",
        "|" + "|".join("---:" if justify == "right" else "---" for _, justify in headings) + "|",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines),
    ]
    aim = contents()["product_share_aim_percent"]
    reached = [result for result in results if _best_share(result) is not None]
    weighed = [result for result in results if result.memory_ratio is not None]
    known += [f"- precision: {', '.join(sorted({result.setting.precision for result in results}))}"]
    summary = [
        f"{sum(result.met is True for result in results)} of {sum(result.met is not None for result in results)} "
        f"targets are met. {sum(_best_share(result) >= aim for result in reached)} of {len(reached)} networks' steps "
        f"run at {aim} % of the matrix product's rate or more.",
        f"Peak memory of a training step is above the baseline's in "
        f"{sum(result.memory_ratio > 1 for result in weighed)} of {len(weighed)}.",
        "Times as fast as the baseline, with the limits of the 95 % confidence interval. Shares are of the rate of a "
        "large matrix product and of a copy, measured in the same turns.",
        f"{NOISY_SIGN}: an inter-quartile range above {NOISY_ABOVE_PERCENT:g} % of the median. How it was measured: "
        "docs/speed.md.",
    ]
    failures = [f"- {result.setting.name}: {result.failure}" for result in results if result.failure is not None]
    title = f"# Ours against the straightforward form, {day.isoformat()}"
    blocks = [title, "\n".join(known), "\n".join(rows), "\n".join(failures), *summary]
    return "\n\n".join(block for block in blocks if block) + "\n"


def write(results: Sequence[Result], environment: Mapping[str, Any], folder: Path, day: date) -> list[Path]:
    """Writes table.md and results.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {
        "date": day.isoformat(),
        "environment": dict(environment),
        "results": [result.plain() for result in results],
    }
    page, data = folder / "table.md", folder / "results.json"
    page.write_text(markdown(results, environment, day), encoding="utf-8")
    data.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return [page, data]


def _cells(results: Sequence[Result]) -> tuple[list[tuple[str, str]], list[list[str]]]:
    """Headings and cells of the columns that have something in them."""
    rows = [_row(result) for result in results]
    filled = [index for index in range(len(HEADINGS)) if any(row[index] for row in rows)]
    return [HEADINGS[index] for index in filled], [[row[index] for index in filled] for row in rows]


def _row(result: Result) -> list[str]:
    setting, eager, compiled = result.setting, result.eager, result.compiled
    shape = ""
    if setting.channels is not None:
        shape = f" {setting.implementation} {setting.side}×{setting.side}×{setting.channels}"
    training = setting.mode == "training"
    return [
        setting.entry + shape,
        setting.mode,
        str(setting.batch_size),
        _ms(result.baseline) or "none",
        _ms(eager),
        _ratio(eager),
        "" if setting.target is None else f"{setting.target:g}",
        _met(result),
        _percent(eager and eager.product_share_percent) if setting.channels is None else "",
        _percent(eager and eager.copy_share_percent),
        _ms(compiled),
        _ratio(compiled),
        _percent(compiled and compiled.product_share_percent),
        _mib(result.baseline) if training else "",
        _mib(eager) if training else "",
    ]


def _best_share(result: Result) -> float | None:
    shares = [
        way.product_share_percent
        for way in (result.eager, result.compiled)
        if way is not None and way.product_share_percent
    ]
    return max(shares) if shares and result.setting.channels is None else None


def _met(result: Result) -> str:
    return {True: "yes", False: "no", None: ""}[result.met]


def _ms(way: Way | None) -> str:
    return "" if way is None else f"{way.latency_ms:.1f}{f' {NOISY_SIGN}' if way.noisy else ''}"


def _ratio(way: Way | None) -> str:
    if way is None or way.speedup is None:
        return ""
    limits = "" if way.low is None else f" [{way.low:.2f}, {way.high:.2f}]"
    return f"{way.speedup:.2f}{limits}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0f} %"


def _mib(way: Way | None) -> str:
    return "" if way is None or way.peak_memory_mib is None else f"{way.peak_memory_mib:.0f}"
