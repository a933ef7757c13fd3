"""`weights=sweep:NAME`: of a sweep's trained networks, the one that a cell is about."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.record import UnreadableRecordError, read_record

PREFIX = "sweep:"
COMPARED = ("network", "mixer", "scale", "seed")


def resolve(config: Mapping[str, Any]) -> str | None:
    """`config["weights"]`, where it names a sweep as the folder of its completed training with this cell's network,
    mixer, scale and seed. Where there are several, as after a sweep over data sets, it is the one on this cell's data.

    Raises: ValueError naming what the sweep has.
    """
    weights = config["weights"]
    if weights is None or not weights.startswith(PREFIX):
        return weights
    sweep = Path(config["output"]) / weights.removeprefix(PREFIX)
    alike = [
        (folder, trained)
        for folder, trained in _trainings(sweep)
        if all(_given(trained.get(key)) == _given(config[key]) for key in COMPARED)
    ]
    on_these = [each for each in alike if each[1]["data"]["name"] == config["data"]["name"]]
    found = on_these or alike
    if len(found) == 1:
        return str(found[0][0])
    what = f"weights={weights}: {len(found) or 'none'} of the completed trainings in {sweep} "
    if found:
        names = ", ".join(sorted(folder.name for folder, _ in found))
        raise ValueError(f"{what}have this network, mixer, scale and seed={config['seed']} ({names}): give a folder")
    raise ValueError(f"{what}has this network, mixer, scale and seed={config['seed']}")


def _trainings(sweep: Path) -> list[tuple[Path, Mapping[str, Any]]]:
    found = []
    for path in sorted(sweep.glob("*/record.json")):
        try:
            record = read_record(path)
        except UnreadableRecordError:
            continue  # `task=table` names it
        if record["task"] == "train" and record["status"] == "completed":
            found.append((path.parent, record["config"]))
    return found


def _given(value: Any) -> Any:
    """Without options that nobody gave: a later version may have more of them."""
    if isinstance(value, Mapping):
        return {key: _given(item) for key, item in value.items() if item not in (None, {}, [])}
    return value
