"""Which records are of the same network, and which of the same training but for the seed.

Two records are averaged only if everything that could change their result is equal, said or not in the table's columns.
What a configuration names by a path or leaves at its default is known by the digests in `contents` (launch.contents),
where a record has them. Where rows look alike in the table's columns, `variants` names what tells them apart.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..record import PLACE_KEYS
from .beside_published import AUTHORS_NAMES

# Mixers that put the others in proportion, rather than compete with them.
CONTROLS = ("identity", "pooling", "global_attention")
# Mixers of which there is a published row at every scale (architectures.variants).
PUBLISHED_MIXERS = {"halo", *AUTHORS_NAMES}
# Scales without published networks, at which every mixer gets the same shape (architectures.variants.SHAPES).
SHAPE_SCALES = ("nano",)
# Parts of a record's code (launch.code) that all networks share, and the one that says how a result was come by.
NETWORK_CODE = ("mixers", "architectures")
TASK_CODE = "task"
# Columns of a table that already say a part of the identity.
SAID_BY_COLUMNS = (
    "network.name",
    "network.budget",
    "network.mixers",
    "mixer.name",
    "scale",
    "data.name",
    "recipe.name",
    "task.name",
    "precision",
)

Identity = Mapping[str, Any]


def network_identity(config: Identity, resolution: int | None = None, code: Identity | None = None) -> Identity:
    """What decides a network's parameters, MACs and speed; `resolution` is the data set's unless it is given."""
    data = config.get("data") or {}
    names = [(config.get("mixer") or {}).get("name"), *(config["network"].get("mixers") or ())]
    own = {name: digest for name, digest in ((code or {}).get("mixer") or {}).items() if name in names}
    return {
        "network": _chosen(config["network"] | {"budget": budget_rule(config)}),
        "mixer": _chosen(config.get("mixer")),
        "mixer_source": config.get("mixer_source"),
        "scale": config.get("scale"),
        "resolution": resolution or data.get("resolution"),
        "num_classes": data.get("num_classes"),
        "contents": {"networks": (config.get("contents") or {}).get("networks")},
        "code": {key: code[key] for key in NETWORK_CODE} | {"mixer": own} if code else None,
    }


def budget_rule(config: Identity) -> str | None:
    """By what rule the unified network's dims and depths were found; None for other networks.

    `architectures.budget.budget_rule` says the same of a network to be built; here nothing but the configuration is
    needed. Records from before there were rules have no dims, and say nothing where nothing was asked for.
    """
    network = config["network"]
    if network["name"] != "unified":
        return None
    if "dims" not in network:
        return None if network.get("budget") == "params" else network.get("budget")
    if network["budget"] is not None:
        return network["budget"]
    if config.get("scale") in SHAPE_SCALES or network["dims"] is not None or network["depths"] is not None:
        return "shape"
    mixers = set(network["mixers"] or [(config["mixer"] or {}).get("name")])
    return "published" if len(mixers) == 1 and mixers <= PUBLISHED_MIXERS else "params"


def training_identity(config: Identity, code: Identity | None = None) -> Identity:
    """What else decides the accuracy, except for the seed. Its `contents` and `code` complete the network's."""
    task, contents = config.get("task") or {}, config.get("contents") or {}
    return {
        # The other keys of training (compiled or not, how often a checkpoint, ...) say how the work is done.
        "task": {"name": "train"} if task.get("name") == "train" else task,
        "data": {
            key: value
            for key, value in (config.get("data") or {}).items()
            if key not in PLACE_KEYS and not (key == "options" and not value)
        },
        "recipe": config.get("recipe"),
        "precision": config.get("precision"),
        "weights": config.get("weights"),
        "contents": {key: contents.get(key) for key in ("networks", "drop_path_rate", "data", "weights")},
        "code": {**network_identity(config, code=code)["code"], TASK_CODE: code[TASK_CODE]} if code else None,
    }


def regime(identity: Identity) -> Identity:
    """How a network learned and was looked at, which several have in common: all but the network and its scale.

    Networks by different rules of their budget do not compare, since then more than the mixer is another; one of its
    own is as its authors published it. Nor do results of different code, except for that of the mixers themselves.
    """
    of_network = set(network_identity({"network": {"name": None}}))
    return {
        **{key: value for key, value in identity.items() if key not in of_network},
        "contents": {"data": (identity.get("contents") or {}).get("data")},
        "code": shared_code(identity),
        "budget": identity["network"].get("budget") or "published",
    }


def comparison_key(identity: Identity) -> str:
    """The same text for rows that differ in nothing but the network: what verdicts are about."""
    rule = {key: identity["network"].get(key) for key in ("budget", "dims", "depths")}
    return key_of({**regime(identity), **rule, "scale": identity["scale"]})


def is_published_variant(identity: Identity) -> bool:
    """Whether network and mixer were left as they are by default, so that published numbers are of the same network."""
    network = identity["network"]
    mixer_options = set(identity["mixer"] or ()) - {"name"}
    is_row = network.get("budget") in (None, "published")
    return is_row and not (network.get("options") or network.get("mixers") or mixer_options or identity["mixer_source"])


def _chosen(settings: Identity | None) -> Identity | None:
    """`settings` without what was left at its default (null), all the way down."""
    if settings is None:
        return None
    nested = {key: _chosen(value) if isinstance(value, Mapping) else value for key, value in settings.items()}
    return {key: value for key, value in nested.items() if value not in (None, {})}


def key_of(identity: Identity) -> str:
    """The same text for equal identities."""
    return json.dumps(identity, sort_keys=True)


def content_key(identity: Identity) -> str:
    """The same text for what is the same by content, however it was written down."""
    contents = identity.get("contents") or {}
    written = {"networks": ("network", "mixer", "mixer_source"), "weights": ("weights",)}
    hidden = {key for part, keys in written.items() if contents.get(part) for key in keys}
    known = {key: value for key, value in identity.items() if key not in hidden}
    if contents.get("drop_path_rate") is not None and known.get("recipe"):
        known["recipe"] = {key: value for key, value in known["recipe"].items() if key != "drop_path_rate"}
    return key_of(known)


def shared_code(identity: Identity) -> str | None:
    """A digest of the code that a row shares with those that it is compared with; None where it was not recorded."""
    code = identity.get("code")
    if not code:
        return None
    return hashlib.sha256(key_of({key: value for key, value in code.items() if key != "mixer"}).encode()).hexdigest()[
        :12
    ]


def variants(identities: Sequence[Identity]) -> list[str]:
    """For each row what tells it from the rows that look the same in the columns, e.g. `mixer.window_size=14`.

    Empty where nothing has to be told.
    """
    flat = [_flatten(identity) for identity in identities]
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for index, settings in enumerate(flat):
        alike[tuple(settings.get(key) for key in (*SAID_BY_COLUMNS, "resolution"))].append(index)
    texts = [""] * len(flat)
    for indices in alike.values():
        keys = sorted({key for index in indices for key in flat[index]} - {"data.resolution", "data.num_classes"})
        differing = [key for key in keys if len({flat[index].get(key, "default") for index in indices}) > 1]
        # Digests are for what nothing else tells.
        words = [key for key in differing if not key.startswith("contents.")]
        if len({tuple(flat[index].get(key) for key in words) for index in indices}) == len(indices):
            differing = words
        for index in indices:
            texts[index] = ", ".join(f"{key}={flat[index].get(key, 'default')}" for key in differing)
    return texts


def _flatten(settings: Identity, prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        elif value is not None:
            flat[prefix + key] = str(value)
    return flat


def code_versions(records: pd.DataFrame) -> int:
    """How many versions of the code the results of one task come from, at most; what was not recorded is one."""
    versions = [
        (task, shared_code({"code": json.loads(text or "null")}))
        for task, text in zip(records["task"], records["code"], strict=True)
    ]
    return max(Counter(task for task, _ in set(versions)).values())
