"""What may be said of the difference between rows: a contrast, its interval, and a verdict.

One tidy table of observations in (`observations`), verdicts out: `against_best` and `against_reference` for scores over
seeds and images, `ratio` for speeds over processes, `front` for what nothing beats in two things at once.
"""

from .accuracy import Compared, against_best, against_reference, compare_rows
from .front import Membership, front
from .observations import COLUMNS, MixedCodeError, observations
from .outcomes import Outcomes, read_outcomes
from .ratios import Ratio, ratio
from .verdict import Contrast, Verdict

__all__ = [
    "COLUMNS",
    "Compared",
    "Contrast",
    "Membership",
    "MixedCodeError",
    "Outcomes",
    "Ratio",
    "Verdict",
    "against_best",
    "against_reference",
    "compare_rows",
    "front",
    "observations",
    "ratio",
    "read_outcomes",
]
