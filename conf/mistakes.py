"""One sentence for a command line or a file that does not compose, in place of Hydra's own words.

Hydra advises to append a key that does not exist (`+key=value`), which a typed configuration never wants; and of YAML
that does not parse it shows a traceback.
"""

import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from launch.nearest import did_you_mean, nearest

from .errors import ConfigurationError

GROUPS = sorted(path.name for path in Path(__file__).parent.iterdir() if any(path.glob("*.yaml")))
"""Those with a folder; of `task` and `mixer`, whose choices are code, the root has the key."""
OF_HYDRA = ("hydra", "defaults")
GROUP_BY_VALUE = "Config group override must be a string"
AMBIGUOUS = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(.*?)'", re.DOTALL)
ADVICE = ("To append to your", "Either remove", "Or add", "full_key", "reference_type", "object_type", "See https")


def refusal(error: BaseException) -> str | None:
    """One sentence naming the key or file and what it may be; None where `error` is no mistake of the user's."""
    if isinstance(error, ConfigurationError):
        return str(error)
    if isinstance(error, yaml.YAMLError):
        return _of_yaml(error)
    if isinstance(error, UnicodeDecodeError):
        return f"{_file_being_read(error)} is not UTF-8 text"
    if isinstance(error, OverrideParseException):
        return _of_syntax(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _of_choice(error)
    if isinstance(error, ValueError) and str(error).startswith(GROUP_BY_VALUE):
        return f"a group ({', '.join(('task', 'mixer', *GROUPS))}) is chosen by the name of one of its members"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _of_value(error)
    if _stumbled(error):
        return f"the command line is not understood, {type(error).__name__} of Hydra: {_plain(str(error))}"
    return None


def _stumbled(error: BaseException) -> bool:
    """Whether Hydra itself failed over what it was given, e.g. numbers in the place of names."""
    places = [Path(frame.f_code.co_filename).parts for frame, _ in traceback.walk_tb(error.__traceback__)]
    return isinstance(error, TypeError | ValueError | AttributeError) and bool(places) and "hydra" in places[-1][:-1]


def unknown_key(key: str, siblings: list[str], elsewhere: list[str]) -> str:
    """What to say of `key`, where `siblings` are the valid ones beside it and `elsewhere` all dotted ones."""
    parent, _, last = key.rpartition(".")
    close = nearest(last, siblings)
    close = (f"{parent}.{close}" if parent else close) if close else nearest(key, elsewhere)
    question = f", did you mean {close}? The" if close else "; the"
    whose = f"keys of {parent}" if parent else "keys"
    return f"{key}: there is no such key{question} {whose} are {', '.join(siblings)}"


def _of_yaml(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is not None:
        return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: not YAML: {problem}"
    return f"{getattr(error, 'name', 'a configuration file')}: not YAML: {' '.join(str(error).split())}"


def _file_being_read(error: BaseException) -> str:
    """Python does not say what it decodes; the frame of Hydra that reads a file knows."""
    names = (frame.f_locals.get("full_path") for frame, _ in traceback.walk_tb(error.__traceback__))
    return next((str(name) for name in names if name), "a configuration file")


def _of_syntax(error: OverrideParseException) -> str:
    given = error.override or ""
    if "=" not in given:
        return f"{given!r} is not understood: give KEY=VALUE, e.g. mixer=halo"
    key = given.partition("=")[0]
    return f"{given}: the value is not understood; quote what has signs in it, '{key}=\"VALUE\"', and close brackets"


def _of_choice(error: MissingConfigException) -> str:
    group, _, name = error.missing_cfg_file.rpartition("/")
    if not group:
        return f"there is no configuration {name}"
    choices = list(error.options or ())
    return f"{group}={name}: choose from {', '.join(choices) or 'none'}{did_you_mean(name, choices)}"


def _of_value(error: HydraException | OmegaConfBaseException) -> str:
    text = str(error)
    if several := AMBIGUOUS.search(text):
        key, _, values = several[1].partition("=")
        return f"{several[1]}: several values are a sweep, which needs -m, or one list, {key}=[{values}]"
    # The file, where the mistake is in one.
    inside = re.match(r"In '([^']*)': ", text)
    prefix = f"{inside[1]}.yaml: " if inside and inside[1] != "cell" else ""
    cause = _cause(error)
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and isinstance(cause.parent_node, DictConfig):
        return prefix + _of_key(str(cause.full_key), cause.parent_node)
    if cause is not None:
        said = _plain(str(cause))
        key = f"{cause.full_key}: " if cause.full_key else ""
        choices = re.search(r"Invalid value '(.*)', expected one of \[(.*)\]", said)
        question = did_you_mean(choices[1], choices[2].split(", ")) if choices else ""
        merging = re.match(r"Error merging override \+*(.*)", text, re.DOTALL)
        return f"{prefix}{merging[1] + ': ' if merging else key}{said}{question}"
    if inside:
        text = text[inside.end() :]
    return f"{prefix}{_plain(text)}"


def _cause(error: BaseException) -> OmegaConfBaseException | None:
    """OmegaConf's own error, which knows the key, behind Hydra's."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OmegaConfBaseException):
        found = found.__cause__ or found.__context__
    return found


def _of_key(key: str, parent: DictConfig) -> str:
    siblings = sorted(str(name) for name in parent if name not in OF_HYDRA)
    root = parent._get_root()
    above = key.rpartition(".")[0]
    if not above:
        siblings = sorted({*siblings, *(GROUPS if "network" in siblings else ())})
    elif not siblings:
        what = f"choose {above}=NAME first" if above in root else f"{above} is a value, without keys of its own"
        return f"{key}: there is no such key; {what}"
    return unknown_key(key, siblings, list(_dotted(root)))


def _dotted(node: Any, prefix: str = "") -> Iterator[str]:
    """All keys of a configuration, as they are given."""
    for key in node:
        if prefix or key not in OF_HYDRA:
            yield f"{prefix}{key}"
            child = None if node._is_missing() else node._get_node(key)
            if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing()):
                yield from _dotted(child, f"{prefix}{key}.")


def _plain(text: str) -> str:
    """Without advice that does not apply here, in one line."""
    lines = (line.strip() for line in text.splitlines())
    return " ".join(line for line in lines if line and not line.startswith(ADVICE))
