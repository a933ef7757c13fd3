"""How commands that read every record of a sweep behave with very many of them.

    python -m benchmarks.record_scale --records 1000 10000 100000

Makes trees of records as sweeps leave them: one folder a cell with config.yaml, record.json, metrics.jsonl and
attempts.jsonl; one cell in fifty failed. Then measures `python -m launch status`, the same with `--json`, reading all
records into one DuckDB table, all epochs into another, and `task=table` with its report: seconds, best of `--repeats`
(the first also reads the disk), and peak memory.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from .arguments import count
from .commands import measure

ROOT = Path(__file__).parents[1]
EPOCHS = 30
FAILED_EVERY = 50
READ = "import sys; from analysis.records import *; records = read_records('runs', sys.argv[1])"


def example_cell(folder: Path) -> Path:
    """The folder of a cell that was really run."""
    choice = ("mixer=identity", "scale=micro", "data=digits", "recipe=short", "recipe.epochs=1", "task=train")
    command = [sys.executable, str(ROOT / "run.py"), *choice, "sweep=example", "tracking.mode=disabled"]
    measure(command, folder)
    [record] = (folder / "runs" / "example").glob("*/record.json")
    return record.parent


def make_tree(example: Path, sweep: Path, count: int) -> None:
    """`count` cells like `example`, each with a seed and an identity of its own."""
    record = json.loads((example / "record.json").read_text())
    [row] = (example / "metrics.jsonl").read_text().splitlines()
    metrics = "".join(json.dumps({**json.loads(row), "epoch": epoch + 1}) + "\n" for epoch in range(EPOCHS))
    attempt = json.dumps({"job": "example/0", "restarts": 0, "node": "n0", "started": record["started"]}) + "\n"
    attempt += json.dumps({"ended": record["finished"], "status": "completed", "reason": None}) + "\n"
    for number in range(count):
        identity = f"{number:012x}"
        config = record["config"] | {"seed": number, "sweep": sweep.name}
        own = record | {"cell": identity, "sweep": sweep.name, "config": config}
        if number % FAILED_EVERY == 0:
            own |= {"status": "failed", "reason": "NonFiniteLossError: the loss became NaN", "results": {}}
        cell = sweep / f"identity-micro-digits-train-seed{number}-{identity}"
        cell.mkdir(parents=True)
        (cell / "record.json").write_text(json.dumps(own, indent=1))
        (cell / "config.yaml").write_text(yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False))
        (cell / "metrics.jsonl").write_text(metrics)
        (cell / "attempts.jsonl").write_text(attempt)


def best(command: Sequence[str], folder: Path, repeats: int) -> str:
    runs = [measure(command, folder, statuses=(0, 1)) for _ in range(repeats)]
    run = min(runs, key=lambda run: run.seconds)
    return f"{run.seconds:.2f} s, {run.peak_mib:.0f} MiB"


def measure_tree(folder: Path, example: Path, count: int, repeats: int, with_table: bool) -> str:
    sweep = folder / "runs" / f"sweep{count}"
    make_tree(example, sweep, count)
    commands = [
        ["-m", "launch", "status", sweep.name],
        ["-m", "launch", "status", sweep.name, "--json"],
        ["-c", READ, sweep.name],
        ["-c", f"{READ}; read_metrics(records)", sweep.name],
    ]
    cells = [best([sys.executable, *command], folder, repeats) for command in commands]
    table = [sys.executable, str(ROOT / "run.py"), "task=table", f"sweep={sweep.name}"]
    cells.append(best(table, folder, repeats=1) if with_table else "")
    shutil.rmtree(sweep)
    return f"| {count:,} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=count, nargs="+", default=[1000, 10000])
    parser.add_argument("--repeats", type=count, default=3)
    parser.add_argument("--directory", type=Path, help="a folder of the file system that is to be measured")
    parser.add_argument("--table-up-to", type=int, default=1000, help="records with which task=table is run, too")
    options = parser.parse_args(arguments)
    print("| records | status | status --json | read_records | read_metrics, too | task=table |")
    print("|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="record-scale-", dir=options.directory) as folder:
        example = example_cell(Path(folder))
        for records in options.records:
            with_table = records <= options.table_up_to
            print(measure_tree(Path(folder), example, records, options.repeats, with_table), flush=True)


if __name__ == "__main__":
    main()
