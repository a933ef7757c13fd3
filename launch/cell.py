"""One point of a sweep: its resolved configuration, what identifies its result, and where its files are."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from analysis.record import PLACE_KEYS
from tasks import task_of
from tasks.from_config.labels import candidate_labels
from training.whole_file import write_whole

# Keys of data and recipes, such as "recipe.ema_decay", that were added when there were results already -> the value
# with which nothing is as it was not before. With that value a key is no part of the identity. (Options of mixers,
# networks and tasks: `Mixer.neutral`, `Backbone.neutral`, `Task.neutral`.)
NEUTRAL: Mapping[str, Any] = {"data.options": {}}
# The C versions are several times faster; not every build of PyYAML has them.
LOADER, DUMPER = getattr(yaml, "CSafeLoader", yaml.SafeLoader), getattr(yaml, "CSafeDumper", yaml.SafeDumper)
LONGEST_NAME = 150
NETWORK_KEYS = ("network", "mixer", "scale")


# Without these, what a file holds is no configuration of a cell.
NEEDED_KEYS = ("network", "data", "task", "platform", "sweep", "output")
REMEDY = "give the sweep's own command again, which writes it anew, or delete the folder"


class DamagedCellError(ValueError):
    """A cell's configuration cannot be read; the message names the file."""


def identity(config: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that name what `config` computes: network, mixer, scale, data, recipe, task and seed.

    Identity is by content. What a configuration names by a path or leaves at its default is known by the digests in
    `config["contents"]` (see `launch.contents`; a configuration from before there were any is identified by what is
    written in it):

    - networks and mixers by their options as resolved, block by block. A default that is spelt out or left out, one
      value or four equal ones are the same cell; a changed default is another. An option that is added with a default
      that changes nothing is declared in `neutral`, and old ids stay.
    - mixers from outside by their file and the modules that it imports, or their package.
    - data by their images: the same files in another folder are the same data; other files in the same folder are not.
    - weights by their file's content, or by the release.
    - where the result is a time, the device. Here it is the model of what `device=auto` finds; on Slurm, where the node
      is not known yet, it is what was asked for (a GPU or none, partition, constraint, options of sbatch), and the job
      runs on that kind or fails. The record's fingerprint tells machines apart that share a name.

    The code is no part of the identity: it stands in the record, see `launch.code`.
    """
    task, contents = task_of(config), config.get("contents") or {}
    defining = task.defining(config)
    if contents.get("task_module"):
        defining["task_module"] = contents["task_module"]
    defining["network"] = contents.get("networks") or {key: config.get(key) for key in NETWORK_KEYS}
    # The data set decides the size of the images and of the classifier for every task.
    defining["images"] = {key: config["data"][key] for key in ("resolution", "num_classes")}
    if "data" in defining:
        # How fast images come depends on where they lie.
        hidden = () if task.is_timed else PLACE_KEYS
        defining["data"] = _of_section(config, "data", hidden) | {"contents": contents.get("data")}
    if "recipe" in defining:
        resolved = {"drop_path_rate": contents["drop_path_rate"]} if contents else {}
        defining["recipe"] = _of_section(config, "recipe") | resolved
    if "device" in defining:
        defining["device"] = contents.get("device") or config["device"]
    if "weights" in defining:
        defining["weights"] = contents.get("weights") or [config["weights"], config["task"].get("average", False)]
    text = json.dumps(defining, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _of_section(config: Mapping[str, Any], section: str, hidden: Sequence[str] = ()) -> dict[str, Any]:
    """What of data or recipe decides the result."""
    return {
        key: value
        for key, value in config[section].items()
        if key not in hidden and (f"{section}.{key}", value) not in NEUTRAL.items()
    }


def display_name(config: Mapping[str, Any]) -> str:
    """A short name for people, e.g. `halo-micro-digits-train-seed0`; the identity tells equal names apart."""
    task, uses = config["task"]["name"], task_of(config).uses
    parts = ["-vs-".join(candidate_labels(config))]
    parts += [config["scale"]] if config["scale"] else []
    parts += [f"dim{config['dim']}"] if config.get("dim") else []
    if "data" in uses:
        parts.append(config["data"]["name"])
    parts.append(task)
    if "seed" in uses:
        parts.append(f"seed{config['seed']}")
    return _as_file_name("-".join(str(part) for part in parts))


def _as_file_name(text: str) -> str:
    """`text` without what separates folders, and no longer than a folder's name may be with more behind it."""
    whole = re.sub(r"[/\x00-\x1f]", "-", text).lstrip(".").encode()
    if len(whole) <= LONGEST_NAME:
        return whole.decode()
    return f"{whole[: LONGEST_NAME - 3].decode(errors='ignore')}..."


@dataclass(frozen=True)
class Cell:
    """A plain, resolved configuration. `config` has the keys of `conf/cell.yaml`; see `conf.cells.to_cell`."""

    config: Mapping[str, Any]
    found_in: Path | None = None

    @cached_property
    def id(self) -> str:
        return identity(self.config)

    @cached_property
    def name(self) -> str:
        return display_name(self.config)

    @property
    def label(self) -> str:
        return " vs ".join(candidate_labels(self.config))

    @property
    def task(self) -> str:
        return self.config["task"]["name"]

    @property
    def is_dry_run(self) -> bool:
        """Whether training is only to be planned, see `launch.plan`: such a cell leaves nothing behind."""
        return self.config["task"].get("dry_run", False)

    @property
    def directory(self) -> Path:
        """ROOT/<sweep>/<name>-<id>: one folder a cell, the same one whenever it runs again."""
        if self.found_in is not None:
            return self.found_in
        return Path(self.config["output"]) / self.config["sweep"] / f"{self.name}-{self.id}"

    @property
    def record_path(self) -> Path:
        return self.directory / "record.json"

    def write_config(self) -> None:
        """Leave `config.yaml` in the cell's directory, so that the cell can be run again from this file alone."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path, text = self.directory / "config.yaml", yaml.dump(dict(self.config), Dumper=DUMPER, sort_keys=False)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        write_whole(path, text.encode())

    @classmethod
    def read(cls, directory: Path) -> "Cell":
        """The cell whose `config.yaml` lies in `directory`, wherever that has been moved to since.

        Raises: DamagedCellError naming the file.
        """
        path = directory / "config.yaml"
        try:
            config = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            said = getattr(error, "problem", None) or str(error)
            raise DamagedCellError(f"{path} is damaged ({said}): {REMEDY}") from error
        if not isinstance(config, dict) or not set(NEEDED_KEYS) <= set(config):
            raise DamagedCellError(f"{path} is damaged (it lacks {', '.join(NEEDED_KEYS)}): {REMEDY}")
        return cls(config, found_in=directory)
