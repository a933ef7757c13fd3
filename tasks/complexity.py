"""`task=complexity`: what a network costs."""

from dataclasses import asdict, dataclass

from analysis.metrics import COSTS
from analysis.settings import CountingRule

from .hooks import Hooks
from .registry import register_task
from .task import CellOfTask, Results, Task


@dataclass
class ComplexitySettings:
    """Parameters, MACs and activations.

    Attributes:
        rule: how MACs are counted.
    """

    name: str = "complexity"
    rule: CountingRule = CountingRule.macs


@register_task("complexity")
class ComplexityTask(Task):
    """Parameters, multiply-accumulates and activations of one image, per stage and per operator. Allocates nothing."""

    settings = ComplexitySettings
    metrics = COSTS
    code = ("analysis/complexity.py", "analysis/op_macs.py", "analysis/tracing.py")

    def run(self, cell: CellOfTask, hooks: Hooks) -> Results:
        from .from_config.cost import describe, size_of, totals
        from .from_config.network import network_spec

        spec = network_spec(cell.config)
        complexity = describe(spec, CountingRule(cell.config["task"]["rule"]))
        return {"results": totals(complexity), "details": asdict(complexity) | {"network": size_of(spec)}}
