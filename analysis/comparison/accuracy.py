"""What may be said of each row's accuracy: its mean over seeds, its contrast to the best, its place on fronts."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..contrasts import Compared, Contrast, against_best, compare_rows, front, observations, read_outcomes
from ..contrasts.estimates import estimates
from ..contrasts.images import images_error
from ..contrasts.outcomes import Outcomes, OutcomesError
from .identity import Identity, comparison_key, key_of, regime
from .idle_mixers import WITHOUT_MIXERS

log = logging.getLogger(__name__)

METRIC = "top1_percent"
TRIED = ("completed", "failed", "out_of_memory")
"""A cell that runs, or will be continued, has not been tried yet."""

# What accuracy is held against, and whether less of it is better.
COSTS: Mapping[str, bool] = {
    "params": True,
    "macs": True,
    "inference_images_per_second": False,
    "training_images_per_second": False,
}

Row = Mapping[str, Any]
OutcomesOfSeeds = Mapping[tuple[str, int], Outcomes]


def accuracy_columns(
    rows: Sequence[Row], identities: Sequence[Identity], of_seeds: Sequence[pd.DataFrame], margin: float
) -> list[dict[str, Any]]:
    """The columns of `rows` that say how accurate each is.

    Args:
        rows: with COSTS and `speed_environment`.
        of_seeds: of each row the last record of each seed.
        margin: differences up to this, in percentage points, are equivalent.
    """
    columns: list[dict[str, Any]] = [{} for _ in rows]
    comparisons = 0
    for number, learned_alike in enumerate(_parts([key_of(regime(identity)) for identity in identities])):
        outcomes = _outcomes(of_seeds, learned_alike) if len(learned_alike) > 1 else {}
        kept: dict[int, list[int]] = {}
        for place in _parts([comparison_key(identities[index]) for index in learned_alike]):
            group = [learned_alike[index] for index in place]
            compared = compare_rows(_observations(of_seeds, group), METRIC, outcomes)
            contrasts = {contrast.row: contrast for contrast in against_best(compared, margin)}
            for index in group:
                kept[index] = _kept(compared, index)
                columns[index] |= {"regime": number, "comparison": comparisons}
                columns[index] |= _means(compared, index, of_seeds[index], kept[index])
                if str(index) in contrasts:
                    columns[index] |= _verdict(contrasts[str(index)], compared)
            comparisons += 1
        for index, memberships in _fronts(rows, of_seeds, kept, outcomes).items():
            columns[index] |= memberships
    return columns


def _parts(keys: Sequence[str]) -> list[list[int]]:
    """Places of equal keys, in order of appearance."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return list(places.values())


def _outcomes(of_seeds: Sequence[pd.DataFrame], indices: Sequence[int]) -> OutcomesOfSeeds:
    """Of all seeds that have a score; of none where one is missing, since intervals are then of the seeds only."""
    found = {}
    for index in indices:
        completed = of_seeds[index][of_seeds[index]["status"] == "completed"]
        for seed, record in completed[["seed", "path"]].itertuples(index=False):
            path = Path(record).with_name("outcomes.npy")
            try:
                found[str(index), int(seed)] = read_outcomes(path)
            except FileNotFoundError:
                return {}
            except OutcomesError as error:
                log.warning("%s; the intervals beside it are of the seeds only", error)
                return {}
    return found


def _observations(of_seeds: Sequence[pd.DataFrame], indices: Sequence[int]) -> pd.DataFrame:
    return observations(
        {"row": str(index), "seed": seed, "metric": METRIC, "value": score if status == "completed" else None}
        for index in indices
        for seed, status, score in of_seeds[index][["seed", "status", METRIC]].itertuples(index=False)
        if status in TRIED
    )


def _kept(compared: Compared, index: int) -> list[int]:
    """The seeds of a row that its mean is of."""
    scores = next((scores for scores in compared.rows if scores.row == str(index)), None)
    gone = {each.seed for each in compared.diverged if each.row == str(index)}
    return [] if scores is None else [seed for seed in scores.of_seed if seed not in gone]


def _means(compared: Compared, index: int, records: pd.DataFrame, kept: Sequence[int]) -> dict[str, Any]:
    used = records[(records["status"] == "completed") & records["seed"].isin(kept)]
    attempted = int(records["status"].isin(TRIED).sum())
    diverged = [each for each in compared.diverged if each.row == str(index)]
    means = (METRIC, "top5_percent", "best_top1_percent", "ema_top1_percent", WITHOUT_MIXERS, "train_images_per_second")
    return {
        "seeds": len(kept) or None,
        "attempted": attempted or None,
        "diverged": ", ".join(f"seed {each.seed} ({each.score:.2f})" for each in diverged) or None,
        "top1_spread": used[METRIC].std(),
        **{name: used[name].mean() for name in means},
    }


def _verdict(contrast: Contrast, compared: Compared) -> dict[str, Any]:
    return {
        "verdict": str(contrast.verdict),
        "difference_to_best": contrast.difference,
        "difference_low": contrast.low,
        "difference_high": contrast.high,
        "verdict_in_words": contrast.sentence(),
        "error_of": compared.covers,
    }


def _fronts(
    rows: Sequence[Row], of_seeds: Sequence[pd.DataFrame], kept: Mapping[int, Sequence[int]], outcomes: OutcomesOfSeeds
) -> dict[int, dict[str, str]]:
    """Of the rows in `kept`, for each of COSTS; speeds of different environments make fronts of their own."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    scores = {index: of_seeds[index].set_index("seed")[METRIC] for index in kept}
    for cost, less_is_better in COSTS.items():
        parts: dict[Any, list[int]] = defaultdict(list)
        for index, seeds in kept.items():
            if seeds and not pd.isna(rows[index].get(cost)):
                parts[None if less_is_better else rows[index]["speed_environment"]].append(index)
        for indices in parts.values():
            error = None
            if outcomes:
                error = images_error(
                    [[outcomes[str(index), seed] for seed in kept[index]] for index in indices], METRIC
                )
            together = estimates([scores[index][kept[index]].to_numpy(np.float64) for index in indices], error)
            costs = [rows[index][cost] * (1 if less_is_better else -1) for index in indices]
            for index, membership in zip(indices, front(costs, together), strict=True):
                found[index][f"front_{cost}"] = str(membership)
    return found
