"""A digest of the code that decides a cell's result, as it stands in its record: `code`, in parts.

    mixers          what all mixers share: the contract, the kernels
    mixer           of each mixer in the cell its file, with those of other mixers that it imports
    architectures   all networks
    task            the task: training, or what measures

Adding a mixer's file changes no part of the others' code. A mixer from outside this repository is not among them: its
source is part of the cell's identity. Code is read as text, so that looking after a sweep imports no torch.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from analysis.environment import REPOSITORY
from tasks import TASKS

SUFFIXES = frozenset((".py", ".cpp", ".cu", ".cuh", ".h"))
OF_EVERY_TASK = ("launch/perform.py", "tasks/from_config/network.py", "tasks/from_config/cost.py")
REGISTERED = re.compile(r'^@register\("(\w+)"\)', re.MULTILINE)
IMPORTED = re.compile(r"^from \.(\w+) import", re.MULTILINE)


Code = Mapping[str, str | Mapping[str, str]]


def code_of(config: Mapping[str, Any]) -> Code:
    """The digests of a cell's code, 12 hexadecimal digits each; `mixer` has one for each mixer, by name."""
    networks, task = config["network"], config["task"]
    named = [(config["mixer"] or {}).get("name"), *(networks["mixers"] or ()), *task.get("compare", ())]
    return _code(task["name"], frozenset(name for name in named if name))


def version_of(config: Mapping[str, Any]) -> str:
    """One digest of all of a cell's code."""
    flat = _flat(code_of(config)) | {"task_module": (config.get("contents") or {}).get("task_module")}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:12]


@cache
def _code(task: str, mixers: frozenset[str]) -> Code:
    files = _mixer_files()
    shared = [path for path in _sources("mixers") if path not in files.values()]
    own = {name: _with_imports(files[name], set(files.values())) for name in sorted(mixers) if name in files}
    of_task = TASKS[task].code if task in TASKS else ()  # a user's, known by its file's digest
    parts = [path for place in (*OF_EVERY_TASK, f"tasks/{task}.py", *of_task) for path in _sources(place)]
    return {
        "mixers": _digest(shared),
        "mixer": {name: _digest(paths) for name, paths in own.items()},
        "architectures": _digest(_sources("architectures")),
        "task": _digest(parts),
    }


@cache
def _mixer_files() -> dict[str, Path]:
    """The file in which each mixer of this repository is registered."""
    files = (REPOSITORY / "mixers").glob("*.py")
    return {name: path for path in files for name in REGISTERED.findall(path.read_text(encoding="utf-8"))}


def _with_imports(file: Path, mixer_files: set[Path]) -> list[Path]:
    """`file`, and the other mixers' files that it imports from."""
    found, waiting = set(), [file]
    while waiting:
        path = waiting.pop()
        if path in found or path not in mixer_files:
            continue
        found.add(path)
        waiting += [path.with_name(f"{name}.py") for name in IMPORTED.findall(path.read_text(encoding="utf-8"))]
    return sorted(found)


@cache
def _sources(place: str) -> list[Path]:
    """The files of a package, or the one of a module."""
    path = REPOSITORY / place
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES)


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(REPOSITORY).as_posix()}\0{_digest_of_file(path)}\0".encode())
    return digest.hexdigest()[:12]


@cache
def _digest_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def other_code(record: Mapping[str, Any]) -> str:
    """In words, which of a record's code is not today's, e.g. `other code (task 0123456789ab is now …)`."""
    if not record.get("code"):
        return "code that was not recorded"
    then, now = _flat(record["code"]), _flat(code_of(record["config"]))
    parts = [f"{name} {before} is now {now.get(name)}" for name, before in then.items() if before != now.get(name)]
    return f"other code ({'; '.join(parts)})" if parts else ""


def _flat(code: Code) -> dict[str, str]:
    return {name: digest for name, digest in code.items() if name != "mixer"} | {
        f"mixer {name}": digest for name, digest in code["mixer"].items()
    }
