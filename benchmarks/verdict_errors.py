"""How often verdicts are wrong, and how often they find what is there, by simulation.

    python -m benchmarks.verdict_errors --tables 2000

Scores are drawn for rows of which the truth is known, and judged by three rules: `pairs`, the one that tables and pages
use (analysis/contrasts); `lsd`, the least significant difference to the best that was observed, not corrected, which
they used before; and `welch`, Welch's test of each row against the best that was observed, corrected by Holm. Prints
Markdown: the share of tables in which some row of equal ones is called better or worse (at most 5 % are allowed), the
share in which a row that is worse by three standard deviations of a seed is called worse, the same under conditions
that a rule does not assume, and how often the intervals of speeds hold the truth.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.stats import t, ttest_ind

from analysis.contrasts import observations, ratio
from analysis.contrasts.best import bounds_to_best
from analysis.contrasts.estimates import estimates
from analysis.contrasts.images import images_error
from analysis.contrasts.outcomes import DTYPE, Outcomes
from analysis.contrasts.verdict import LEVEL
from analysis.speed.ratio import speedup

Scores = Sequence[np.ndarray]
"""Of each row's seeds."""

Rule = Callable[[Scores], np.ndarray]
"""For each row whether it is called worse than the best; of two rows, that is also to call the other one better."""

WORSE_BY = 3.0  # standard deviations of a seed


def pairs(scores: Scores) -> np.ndarray:
    _, _, high = bounds_to_best(estimates(list(scores)), LEVEL)
    return high < 0


def lsd(scores: Scores) -> np.ndarray:
    means, counts = np.array([row.mean() for row in scores]), np.array([len(row) for row in scores])
    freedom = int((counts - 1).sum())
    spread = math.sqrt(sum(((row - row.mean()) ** 2).sum() for row in scores) / freedom)
    best = int(means.argmax())
    limit = t.ppf((1 + LEVEL) / 2, freedom) * spread * np.sqrt(1 / counts + 1 / counts[best])
    return np.delete(means[best] - means > limit, best)


def welch(scores: Scores) -> np.ndarray:
    best = int(np.argmax([row.mean() for row in scores]))
    others = [row for index, row in enumerate(scores) if index != best]
    chances = np.array([ttest_ind(row, scores[best], equal_var=False).pvalue for row in others])
    order = np.argsort(chances)
    adjusted = np.maximum.accumulate(chances[order] * np.arange(len(others), 0, -1))
    return (adjusted < 1 - LEVEL)[np.argsort(order)]


RULES: dict[str, Rule] = {"pairs": pairs, "lsd": lsd, "welch": welch}


def draw(
    generator: np.random.Generator, seeds: Sequence[int], means: Sequence[float], spreads: Sequence[float]
) -> Scores:
    return [mean + spread * generator.normal(size=n) for n, mean, spread in zip(seeds, means, spreads, strict=True)]


def error_rates(rows: int, seeds: int, tables: int, rules: Sequence[str] = tuple(RULES)) -> dict[str, float]:
    """By rule: the share of tables of equal rows in which any row is called worse."""
    generator = np.random.default_rng([rows, seeds])
    drawn = [draw(generator, [seeds] * rows, [0.0] * rows, [1.0] * rows) for _ in range(tables)]
    return {name: float(np.mean([RULES[name](scores).any() for scores in drawn])) for name in rules}


def powers(rows: int, seeds: int, tables: int, rules: Sequence[str] = tuple(RULES)) -> dict[str, float]:
    """By rule: the share of tables in which a row that is worse than the others, equal ones, is called so."""
    generator = np.random.default_rng([rows, seeds, 1])
    means = [*[0.0] * (rows - 1), -WORSE_BY]
    drawn = [draw(generator, [seeds] * rows, means, [1.0] * rows) for _ in range(tables)]
    return {name: float(np.mean([RULES[name](scores)[-1] for scores in drawn])) for name in rules}


def unlike_rows(tables: int) -> Iterator[tuple[str, dict[str, float]]]:
    """The error rates among equal rows that differ in what a rule takes to be equal."""
    for name, seeds, spreads in (
        ("6 rows, one with 10 seeds, five with 2", [10, 2, 2, 2, 2, 2], [1.0] * 6),
        ("6 rows of 3 seeds, one spread 3 times as wide", [3] * 6, [3.0, 1, 1, 1, 1, 1]),
        ("6 rows of 5 seeds, one spread 3 times as wide", [5] * 6, [3.0, 1, 1, 1, 1, 1]),
    ):
        generator = np.random.default_rng(seeds)
        drawn = [draw(generator, seeds, [0.0] * len(seeds), spreads) for _ in range(tables)]
        yield name, {rule: float(np.mean([call(scores).any() for scores in drawn])) for rule, call in RULES.items()}


def answers(
    generator: np.random.Generator, rows: int, seeds: int, images: int, own: float = 2.0
) -> list[list[Outcomes]]:
    """Outcomes of rows that are equally good on all images there could be.

    An image's chance to be recognised (logistic) depends on the image, on the image and the row (`own`), and is then
    drawn for each seed.
    """
    easiness = 2 + 2 * generator.normal(size=images)
    found = []
    for _ in range(rows):
        chance = 1 / (1 + np.exp(-(easiness + own * generator.normal(size=images))))
        found.append([_outcomes(generator.random(images) < chance) for _ in range(seeds)])
    return found


def _outcomes(right: np.ndarray) -> Outcomes:
    table = np.zeros(len(right), dtype=DTYPE)
    table["image"], table["top1"] = np.arange(len(right)), right
    return table


def image_error_rates(rows: int, seeds: int, images: int, tables: int) -> dict[str, float]:
    """The share of tables of equal rows in which a row is called worse, with the images' error and without."""
    generator = np.random.default_rng([rows, seeds, images])
    wrong = {"seeds and images": 0, "seeds": 0}
    for _ in range(tables):
        outcomes = answers(generator, rows, seeds, images)
        scores = [np.array([100 * seed["top1"].mean() for seed in row]) for row in outcomes]
        for name, error in (("seeds and images", images_error(outcomes, "top1_percent")), ("seeds", None)):
            _, _, high = bounds_to_best(estimates(scores, error), LEVEL)
            wrong[name] += bool((high < 0).any())
    return {name: count / tables for name, count in wrong.items()}


def speed_coverage(processes: int, tables: int, turns: int = 10, spread: float = 0.1) -> dict[str, float]:
    """The share of intervals that hold the true ratio, where whole processes differ by `spread` and turns by 2 %."""
    generator = np.random.default_rng(processes)
    held = {"processes": 0, "turns of the first process": 0}
    for _ in range(tables):
        of_process = generator.normal(scale=spread / math.sqrt(2), size=(2, processes, 1))
        latencies = np.exp(of_process + 0.02 * generator.normal(size=(2, processes, turns)))
        lines = [
            {"row": row, "process": str(process), "turn": turn, "metric": "latency_ms", "value": value}
            for row, table in zip(("ours", "reference"), latencies, strict=True)
            for (process, turn), value in np.ndenumerate(table)
        ]
        found = ratio(observations(lines), "ours", "reference")
        held["processes"] += found.low <= 1 <= found.high
        old = speedup(latencies[0, 0], latencies[1, 0])
        held["turns of the first process"] += old.low <= 1 <= old.high
    return {name: count / tables for name, count in held.items()}


def _lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = "|" + "|".join("---:" if index else "---" for index in range(len(headings))) + "|"
    return "\n".join(["| " + " | ".join(headings) + " |", ruler, *("| " + " | ".join(row) + " |" for row in rows)])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.verdict_errors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tables", type=int, default=2000, help="tables for each number (2000)")
    parser.add_argument("--rows", type=int, nargs="+", default=[3, 6, 10, 20], help="rows of a table (3 6 10 20)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5, 10], help="seeds of a row (2 3 5 10)")
    options = parser.parse_args(arguments)
    tables = options.tables
    print(
        f"{tables} tables for each number: a share of 5 % is known to ± {200 * math.sqrt(0.05 * 0.95 / tables):.1f}.\n"
    )
    rates = []
    for rows in options.rows:
        for seeds in options.seeds:
            wrong, found = error_rates(rows, seeds, tables), powers(rows, seeds, tables)
            rates.append([str(rows), str(seeds), *map(_percent, wrong.values()), *map(_percent, found.values())])
    headings = [f"{what}, {rule}" for what in ("wrong", "found") for rule in RULES]
    print(_lines(["rows", "seeds", *headings], rates))
    print()
    print(
        _lines(
            ["equal rows that are unlike", *RULES], [[n, *map(_percent, r.values())] for n, r in unlike_rows(tables)]
        )
    )
    print()
    crossed = [(rows, seeds, images) for rows in (3, 6) for seeds in (2, 5) for images in (355, 2000)]
    found = [[*map(str, each), *map(_percent, image_error_rates(*each, tables // 4).values())] for each in crossed]
    print(_lines(["rows", "seeds", "images", "wrong with the images' error", "without"], found))
    print()
    coverage = [[str(n), *map(_percent, speed_coverage(n, tables // 4).values())] for n in (2, 3, 5, 10)]
    print(_lines(["processes", "interval over processes holds", "over turns of one process"], coverage))
    return 0


if __name__ == "__main__":
    sys.exit(main())
