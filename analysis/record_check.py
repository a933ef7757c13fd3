"""What may stand in a record: a schema, and the function that says what is wrong with a value that does not follow it.

Whoever reads records relies on it, so it is checked where they are read: a table is not stopped by a file that somebody
edited or another program wrote, and a top-1 accuracy of 1e308 does not lead it. Keys that are not named here are a
newer version's; null is an empty cell. Importing this costs next to nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

SCHEMA = 1
STATUSES = ("completed", "failed", "out_of_memory", "preempted", "running")


@dataclass(frozen=True)
class Number:
    """Finite, at least `least`, above `above`, at most `most`."""

    least: float = -math.inf
    above: float = -math.inf
    most: float = math.inf
    whole: bool = False


@dataclass(frozen=True)
class Text:
    """One of `choices`, where there are any."""

    choices: tuple[str, ...] = ()


class Flag:
    """True or false."""


class Moment:
    """A time as ISO 8601."""


@dataclass(frozen=True)
class ListOf:
    each: "Rule"


@dataclass(frozen=True)
class Keys:
    """A mapping. `keys` are names, or patterns of names, of which the first that fits decides."""

    keys: Mapping[str, "Rule"] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    not_empty: tuple[str, ...] = ()
    """May be absent, but not null."""


class Plain:
    """Whatever JSON holds, but numbers are finite."""


Rule = Number | Text | Flag | Moment | ListOf | Keys | Plain

PERCENT = Number(least=0, most=100)
COUNT = Number(least=1, most=2**62, whole=True)
NATURAL = Number(least=0, most=2**62, whole=True)
# Nothing is faster or longer than this: a billion a millisecond, thirty thousand years.
POSITIVE = Number(above=0, most=1e12)
NOT_NEGATIVE = Number(least=0, most=1e12)

NETWORK = Keys({"name": Text(), "mixers": ListOf(Text()), "options": Keys(), "budget": Text()}, needed=("name",))
MIXER = Keys({"name": Text()}, needed=("name",))
CONFIG = Keys(
    {
        "network": NETWORK,
        "mixer": MIXER,
        "scale": Text(),
        "data": Keys({"name": Text(), "resolution": COUNT, "num_classes": NATURAL}),
        "recipe": Keys({"name": Text(), "epochs": COUNT, "batch_size": COUNT}),
        "task": Keys({"name": Text(), "rule": Text()}),
        "platform": Keys({"name": Text()}),
        "precision": Text(),
        "seed": NATURAL,
        "weights": Text(),
        "subject": Text(),
        "dim": COUNT,
    },
    needed=("network",),
)
# What tasks find out, by the names that they give it.
RESULTS = Keys(
    {
        "params": COUNT,
        "macs": COUNT,
        "activations": COUNT,
        "*top1_percent": PERCENT,
        "*top5_percent": PERCENT,
        "top1_without_mixers_percent": PERCENT,
        "top1_without_mixer_stage_*": PERCENT,
        "data_wait_percent": PERCENT,
        "*_images_per_second": POSITIVE,
        "*_seconds": NOT_NEGATIVE,
        "*_images": NATURAL,
        "epochs": COUNT,
        "best_epoch": COUNT,
        "*_loss": Number(),
    }
)
# A mixer that has no parameters, like pooling, is measured too.
ROW = Keys(
    {
        "candidate": Text(),
        "config": Keys({"network": NETWORK, "mixer": MIXER, "scale": Text()}, not_empty=("network",)),
        "subject": Text(),
        "fingerprint": Text(),
        "mode": Text(),
        "precision": Text(),
        "memory_format": Text(),
        "implementation": Text(),
        "speedup_over": Text(),
        "reason": Text(),
        "status": Text(STATUSES),
        "compiled": Flag(),
        "tf32": Flag(),
        "cudnn_benchmark": Flag(),
        **dict.fromkeys(("batch_size", "resolution", "columns", "dim", "threads"), COUNT),
        **dict.fromkeys(("params", "macs", "steps", "turns"), NATURAL),
        **dict.fromkeys(("latency_ms", "latency_p95_ms", "images_per_second"), POSITIVE),
        **dict.fromkeys(("speedup", "speedup_low", "speedup_high"), POSITIVE),
        "latency_iqr_ms": NOT_NEGATIVE,
        "peak_memory_mib": NOT_NEGATIVE,
        "*_per_second": NOT_NEGATIVE,
        "*_percent": NOT_NEGATIVE,
    },
    needed=("status",),
)
RECORD = Keys(
    {
        "schema": Number(least=SCHEMA, most=SCHEMA, whole=True),
        "cell": Text(),
        "name": Text(),
        "sweep": Text(),
        "task": Text(),
        "status": Text(STATUSES),
        "reason": Text(),
        "traceback": Text(),
        "config": CONFIG,
        "results": RESULTS,
        "rows": ListOf(ROW),
        "details": Keys(),
        "environment": Keys(
            {"fingerprint": Text(), "device": Text(), "commit": Text(), "cpu": Text(), "torch": Text()}
        ),
        "started": Moment(),
        "finished": Moment(),
        "seconds": NOT_NEGATIVE,
    },
    needed=("schema", "cell", "name", "sweep", "task", "status", "config", "started"),
)
NAMES: Mapping[type, str] = {Text: "text", Flag: "true or false", ListOf: "a list", Keys: "an object", Moment: "a time"}
EXPECTED: Mapping[type, type | tuple[type, ...]] = {Text: str, Flag: bool, ListOf: list, Keys: dict, Moment: str}


def what_is_wrong(record: Any) -> str | None:
    """The first value of a record that cannot be, with its key and the rule; None where all is well."""
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or record.get("status") not in STATUSES:
        return f"not a record of schema {SCHEMA}"
    return _wrong(record, RECORD, "")


def _wrong(value: Any, rule: Rule, key: str) -> str | None:
    if value is None:
        return None
    if isinstance(rule, Number):
        return _wrong_number(value, rule, key)
    if isinstance(rule, Plain):
        return _wrong_plain(value, key)
    if not isinstance(value, EXPECTED[type(rule)]):
        return f"{key}={_shown(value)} is not {NAMES[type(rule)]}"
    if isinstance(rule, Text) and rule.choices and value not in rule.choices:
        return f"{key}={_shown(value)} is none of {', '.join(rule.choices)}"
    if isinstance(rule, Moment) and not _is_moment(value):
        return f"{key}={_shown(value)} is not a time as ISO 8601"
    if isinstance(rule, ListOf):
        found = (_wrong(item, rule.each, f"{key}[{place}]") for place, item in enumerate(value))
        holes = (f"{key}[{place}] is empty" for place, item in enumerate(value) if item is None)
        return next((problem for problem in (*found, *holes) if problem), None)
    return _wrong_keys(value, rule, key) if isinstance(rule, Keys) else None


def _wrong_keys(value: Mapping[str, Any], rule: Keys, key: str) -> str | None:
    prefix = f"{key}." if key else ""
    for name in (*rule.needed, *(name for name in rule.not_empty if name in value)):
        if value.get(name) is None:
            return f"it has no {prefix}{name}"
    for name, item in value.items():
        fitting = (of for pattern, of in rule.keys.items() if fnmatchcase(name, pattern))
        if problem := _wrong(item, next(fitting, PLAIN), f"{prefix}{name}"):
            return problem
    return None


def _wrong_number(value: Any, rule: Number, key: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{key}={_shown(value)} is not a number"
    if rule.whole and not (isinstance(value, int) or value.is_integer()):
        return f"{key}={_shown(value)} is not a whole number"
    if not math.isfinite(value) or not rule.least <= value <= rule.most or value <= rule.above:
        low = f"above {rule.above:g}" if rule.above > -math.inf else f"at least {rule.least:g}"
        bounds = "finite" if rule == Number() else f"{low} and at most {rule.most:g}"
        return f"{key}={_shown(value)} must be {bounds}"
    return None


def _wrong_plain(value: Any, key: str) -> str | None:
    if isinstance(value, dict):
        problems = (_wrong_plain(item, f"{key}.{name}") for name, item in value.items())
    elif isinstance(value, list):
        problems = (_wrong_plain(item, f"{key}[{place}]") for place, item in enumerate(value))
    else:
        return f"{key}={value} must be finite" if isinstance(value, float) and not math.isfinite(value) else None
    return next((problem for problem in problems if problem), None)


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


PLAIN = Plain()
