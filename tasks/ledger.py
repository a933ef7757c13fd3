"""`task=ledger`: published against measured parameters and MACs of every network."""

from dataclasses import dataclass
from pathlib import Path

from .registry import register_task
from .task import OverviewTask


@dataclass
class LedgerSettings:
    """Published against measured parameters and MACs of every network.

    Attributes:
        destination: folder of the ledger as Markdown and CSV; None only prints it.
        whole: print every figure with its source, not only what disagrees.
    """

    name: str = "ledger"
    destination: str | None = None
    whole: bool = False


@register_task("ledger")
class LedgerTask(OverviewTask):
    """Prints where measured parameters and MACs of networks differ from published ones."""

    settings = LedgerSettings

    def run(self, output: Path, sweep: str | None, settings: LedgerSettings) -> int:
        from rich.console import Console

        from analysis.ledger import ledger, print_ledger, write_ledger

        console = Console()
        destination = Path(settings.destination) if settings.destination else None
        if destination:
            destination.mkdir(parents=True, exist_ok=True)  # impossible ones are known before networks are counted
        rows = ledger(console=console)
        print_ledger(rows, console, settings.whole)
        written = write_ledger(rows, destination) if destination else []
        for path in written:
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)
        return 0
