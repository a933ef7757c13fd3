"""Ours against the straightforward form of the same networks: `python -m benchmarks`; docs/speed.md says how.

Every setting (entry × batch × mode) leaves a record under runs/benchmarks/, so what was stopped continues, and
`python run.py task=table` has the same numbers. With --save the table goes into benchmarks/results/ too.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from analysis.environment import environment
from analysis.settings import PRECISIONS
from launch import LaunchError
from launch.output import check_output
from launch.submission import Sweep
from launch.terminal import accept_any_encoding

from .arguments import count, seconds
from .arguments import device as device_here
from .arguments import threads as threads_at_once
from .entries import MODES, Setting, contents, entry_names, settings_of
from .result import Result, result_of
from .runner import SWEEP, cell_of, measured_before, record_path, run, speed_settings
from .table import line, table, write

RESULTS = Path(__file__).with_name("results")
WIDE = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 if a setting failed.

    Raises: LaunchError where no record can be written.
    """
    accept_any_encoding()
    options = _parser().parse_args(arguments)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    defaults = contents()["devices"][torch.device(device).type]
    compiled = [False, True] if options.compiled else defaults["compiled"]
    threads = options.threads or defaults["threads"]
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = list(
        settings_of(
            options.entries or entry_names(),
            modes=options.mode or MODES,
            batch_sizes=options.batch or defaults["batch_sizes"],
            precision=options.precision or defaults["precision"],
            compiled=compiled,
            implementations=defaults["dcnv3"],
            with_targets=device == "cpu",
        )
    )
    check_output(Sweep(options.output / SWEEP))
    found = environment(device)
    console = Console()
    console.print(f"{found['device'] if device != 'cpu' else found['cpu']}, {len(chosen)} settings", highlight=False)
    results: list[Result] = []
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(chosen))
        for setting in chosen:

            def tell(text: str, setting: Setting = setting) -> None:
                progress.update(bar, description=f"{setting.name}: {text.partition(': ')[2] or text}")

            tell("")
            settings = speed_settings(setting, threads=threads, seconds=options.seconds)
            path = record_path(setting, cell_of(setting, settings, device, options.output))
            record = None if options.rerun else measured_before(path, found["fingerprint"], found["commit"])
            before = " (measured before)" if record else ""
            record = record or run(setting, settings, device, options.output, tell)
            results.append(result_of(setting, record))
            console.print(line(results[-1]) + before, highlight=False, markup=False, soft_wrap=True)
            progress.advance(bar)
    # In a file a line may be as long as the table needs.
    (console if console.is_terminal else Console(width=WIDE)).print(table(results))
    if options.save:
        now = datetime.now(UTC).date()
        name = re.sub(r"[^A-Za-z0-9]+", "-", found["device"] if device != "cpu" else found["cpu"]).strip("-").lower()
        for path in write(results, found, RESULTS / f"{now.isoformat()}-{name}", now):
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    return int(any(result.failure is not None for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "entries", nargs="*", choices=[[], *entry_names()], metavar="ENTRY", help="default: all of them"
    )
    parser.add_argument("--mode", nargs="+", choices=MODES, help="default: both")
    parser.add_argument("--batch", nargs="+", type=count, help="default: those of the device, see entries.yaml")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: that of the device")
    parser.add_argument("--compiled", action="store_true", help="ours also through torch.compile, which takes minutes")
    parser.add_argument("--device", type=device_here, help="cpu, cuda or cuda:1; default: a GPU where there is one")
    parser.add_argument("--threads", type=threads_at_once, help="CPU threads")
    parser.add_argument("--seconds", type=seconds, default=2.0, help="for each candidate at the least (2)")
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder of the records (runs)")
    parser.add_argument("--rerun", action="store_true", help="measure again what this commit has measured here")
    parser.add_argument("--save", action="store_true", help="keep the table in benchmarks/results/")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LaunchError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped; the same command continues with the setting that was being measured.")
