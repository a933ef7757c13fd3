"""The ledger: published against measured parameters and MACs, for every network.

A published figure agrees where rounding or truncating the measured one to as many digits gives it. Where it does not,
`analysis/published/disagreements.csv` says why. MACs are counted by the rule that the published figure follows.
Networks are built on the meta device: nothing is allocated, nothing is computed.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from .published import PublishedNumber, load_published
from .published.tables import FOLDER
from .settings import CountingRule

QUANTITIES = ("params", "macs")
RESOLUTION = (224, 224)
DEFAULT_RULE = CountingRule.macs
UNEXPLAINED = "unexplained: no reason in analysis/published/disagreements.csv covers it"
NUMERIC_HEADINGS = ("published", "measured", "difference")
ALL_OF_IT = "every figure, with its source: task.whole=true, or task.destination=FOLDER as Markdown and CSV"

# Name of a network, rule of counting -> parameters, MACs.
Measure = Callable[[str, CountingRule], tuple[int, int]]
# Network, quantity -> row of load_published().
Published = Mapping[tuple[str, str], Mapping[str, Any]]


class Verdict(StrEnum):
    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNPUBLISHED = "unpublished"


@dataclass(frozen=True)
class LedgerRow:
    """One quantity of one network.

    Attributes:
        network: name, as timm.create_model takes it.
        quantity: "params" or "macs".
        published: as printed, "24M"; empty where nothing is published.
        measured: parameters, or multiply-accumulates of one image of RESOLUTION.
        difference_percent: measured minus published, in percent of published; None where nothing is published.
        rule: what is counted, for MACs; empty for parameters.
        verdict: whether the measured number has the published digits.
        why: how the digits agree, or the reason why they do not; empty where nothing is published.
        source: where the number is published; empty where it is not.
    """

    network: str
    quantity: str
    published: str
    measured: int
    difference_percent: float | None
    rule: str
    verdict: Verdict
    why: str
    source: str


@dataclass(frozen=True)
class Reason:
    """Why published figures differ from measured ones; `network` and `quantity` may be shell patterns."""

    table: str
    network: str
    quantity: str
    reason: str

    def covers(self, table: str, network: str, quantity: str) -> bool:
        return self.table == table and fnmatchcase(network, self.network) and fnmatchcase(quantity, self.quantity)


def load_reasons(path: Path = FOLDER / "disagreements.csv") -> list[Reason]:
    """Reads the reasons, in the order of the file."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Reason(**line) for line in csv.DictReader(file)]


def ledger(
    networks: Sequence[str] | None = None, measure: Measure | None = None, console: Console | None = None
) -> list[LedgerRow]:
    """Holds every published figure against ours; networks without one are measured all the same.

    Args:
        networks: names to look at; None is every registered network, the published ones first and in the order in
            which they are published.
        measure: how to count, `measure_on_meta` when None.
        console: where to show progress; None shows none.

    Raises:
        ValueError: a name is not a registered network, or one network has two different published figures.
    """
    published = published_figures()
    if networks is None:
        from architectures import list_networks

        registered = list_networks()
        first = [network for network, _ in published if network in registered]
        networks = list(dict.fromkeys([*first, *registered]))
    reasons = load_reasons()
    rows: list[LedgerRow] = []
    for network in track(networks, "counting", console=console, transient=True, disable=console is None):
        rows += _rows_of(network, published, reasons, measure or measure_on_meta)
    return rows


def published_figures() -> Published:
    """Returns the rows of `load_published()` about whole classification networks, by network and quantity.

    Raises:
        ValueError: a network has two different figures.
    """
    numbers = load_published()
    numbers = numbers[(numbers["task"] == "classification") & numbers["quantity"].isin(QUANTITIES)]
    # A table with two training regimes prints the same figures twice.
    figures = numbers.drop_duplicates(["network", "quantity", "published", "counting_rule"])
    contradictory = figures[figures.duplicated(["network", "quantity"], keep=False)]
    if not contradictory.empty:
        raise ValueError(f"published with two values: {sorted(set(contradictory['network']))}")
    return {(figure["network"], figure["quantity"]): figure for figure in figures.to_dict("records")}


def measure_on_meta(network: str, rule: CountingRule) -> tuple[int, int]:
    """Builds a network on the meta device and returns its parameters and its MACs at RESOLUTION under `rule`."""
    import torch

    from architectures import NetworkSpec, build_network

    from .complexity import measure

    with torch.device("meta"):
        model = build_network(NetworkSpec(name=network)).eval()
    complexity = measure(model, RESOLUTION, rule=rule)
    return complexity.params, complexity.macs


def _rows_of(network: str, published: Published, reasons: Sequence[Reason], measure: Measure) -> Iterator[LedgerRow]:
    macs = published.get((network, "macs"))
    rule = CountingRule(macs["counting_rule"]) if macs else DEFAULT_RULE
    for quantity, measured in zip(QUANTITIES, measure(network, rule), strict=True):
        counted_by = rule.value if quantity == "macs" else ""
        figure = published.get((network, quantity))
        if figure is None:
            yield LedgerRow(network, quantity, "", measured, None, counted_by, Verdict.UNPUBLISHED, "", "")
            continue
        printed, source = figure["published"], figure["source"]
        verdict, why = judge(figure["table"], network, quantity, printed, measured, reasons)
        difference = 100 * (measured - figure["value"]) / figure["value"]
        yield LedgerRow(network, quantity, printed, measured, difference, counted_by, verdict, why, source)


def judge(
    table: str, network: str, quantity: str, published: str, measured: int, reasons: Sequence[Reason]
) -> tuple[Verdict, str]:
    """Says whether a measured number has the published digits, and how or why not."""
    digits = PublishedNumber.parse(published).digits_from(measured)
    if digits in ("rounded", "truncated"):
        return Verdict.AGREES, digits
    covering = [reason.reason for reason in reasons if reason.covers(table, network, quantity)]
    return Verdict.DISAGREES, "; ".join(covering) or UNEXPLAINED


def write_ledger(rows: Sequence[LedgerRow], folder: Path) -> list[Path]:
    """Writes the ledger to `folder` as ledger.md and ledger.csv and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown, spreadsheet = folder / "ledger.md", folder / "ledger.csv"
    markdown.write_text(to_markdown(rows), encoding="utf-8")
    with spreadsheet.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(LedgerRow))
        writer.writerows(astuple(row) for row in rows)
    return [markdown, spreadsheet]


def print_ledger(rows: Sequence[LedgerRow], console: Console, whole: bool = True) -> None:
    """Prints the ledger as a table, the reasons of disagreements numbered below it.

    Not `whole`: a line for each disagreement only, and how the other figures came out as counts.
    """
    numbers = _number_reasons(rows)
    told = rows if whole else [row for row in rows if row.verdict is Verdict.DISAGREES]
    table = Table(
        Column("network, and MACs by" if whole else "disagreements", overflow="fold", min_width=23),
        Column("", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in NUMERIC_HEADINGS),
        Column("verdict" if whole else "reason", no_wrap=True),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # fits a terminal of 80 columns
        pad_edge=False,
    )
    for row in told:
        style = "yellow" if row.verdict is Verdict.DISAGREES else "dim" if row.verdict is Verdict.UNPUBLISHED else None
        name, *cells, rule, verdict = _cells(row, numbers)
        if whole and row.quantity == "macs":  # the second line of its network
            name = f"  by {rule}"
        verdict = verdict.removesuffix(f" ({row.why})")
        table.add_row(name, *cells, verdict if whole else f"[{numbers[row.why]}]", style=style)
    if told:
        console.print(table)
    reasons = (f"[{number}] {reason}" for reason, number in numbers.items())
    for line in (*reasons, *(_sources(rows) if whole else ()), summary(rows)):
        console.print(line, markup=False, highlight=False)
    if not whole:
        console.print(ALL_OF_IT, markup=False, highlight=False, soft_wrap=True)


def to_markdown(rows: Sequence[LedgerRow]) -> str:
    """Returns the ledger as a Markdown table, the reasons of disagreements numbered below it."""
    numbers = _number_reasons(rows)
    lines = [
        "| network | | " + " | ".join(NUMERIC_HEADINGS) + " | counting | verdict |",
        "|---|---|" + "---:|" * len(NUMERIC_HEADINGS) + "---|---|",
        *("| " + " | ".join(_cells(row, numbers)) + " |" for row in rows),
        "",
        *(f"{number}. {reason}" for reason, number in numbers.items()),
        "",
        *(f"- {source}" for source in _sources(rows)),
        "",
        summary(rows),
    ]
    return "\n".join(lines) + "\n"


def summary(rows: Sequence[LedgerRow]) -> str:
    """Counts the verdicts, in one line."""
    counts = Counter(row.verdict for row in rows)
    agree, disagree, unpublished = (counts[verdict] for verdict in Verdict)
    return f"{agree} agree, {disagree} disagree, {unpublished} not published"


def _sources(rows: Sequence[LedgerRow]) -> list[str]:
    return list(dict.fromkeys(f"Published in {row.source}" for row in rows if row.source))


def _number_reasons(rows: Sequence[LedgerRow]) -> dict[str, int]:
    reasons = dict.fromkeys(row.why for row in rows if row.verdict is Verdict.DISAGREES)
    return {reason: number for number, reason in enumerate(reasons, start=1)}


def _cells(row: LedgerRow, numbers: Mapping[str, int]) -> tuple[str, ...]:
    measured = f"{row.measured / 1e9:.4f}G" if row.quantity == "macs" else f"{row.measured:,}"
    difference = "" if row.difference_percent is None else f"{row.difference_percent:+.2f} %"
    verdict = row.verdict.value
    if row.verdict is Verdict.AGREES:
        verdict += f" ({row.why})"
    elif row.verdict is Verdict.DISAGREES:
        verdict += f" [{numbers[row.why]}]"
    return row.network, row.quantity, row.published, measured, difference, row.rule, verdict
