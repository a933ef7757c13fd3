"""What tasks have in common that ask a trained network something beyond its accuracy."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from .task import Config, Task

if TYPE_CHECKING:
    import pandas as pd

    from analysis.report.chart import Chart
    from analysis.report.style import Style


class AnalysisTask(Task):
    """A task with a section of its own in the tables and on the page.

    Its metrics are the columns of the section's table, one row a network, means over seeds. What there is to draw are
    its observations: `details["observations"]`, a list of flat mappings, for instance one for each strength.

    Attributes:
        title: the section's heading.
        says: one sentence below it: what the numbers are.
    """

    title: ClassVar[str]
    says: ClassVar[str]
    uses: ClassVar[tuple[str, ...]] = ("precision", "data", "weights", "seed")
    reads: ClassVar[tuple[str, ...]] = ("validation",)
    needs_weights: ClassVar[bool] = True

    def defining(self, config: Config) -> dict[str, Any]:
        # Which parameters the file holds is said by the digest of the weights; the seed matters where there is none.
        seed = None if config["weights"] and not self.draws else config["seed"]
        return super().defining(config) | {"seed": seed}

    draws: ClassVar[bool] = False
    """Whether its result depends on the seed besides the weights."""

    def charts(self, observations: "pd.DataFrame", look: "Mapping[str, Style]") -> "Iterable[Chart]":
        """What the section shows above its table.

        Args:
            observations: of all completed cells of one comparison, with the columns `label` (of the network), `cell`,
                `seed`, `data`, `scale`, and those of the observations.
            look: the style of each label.
        """
        return ()
