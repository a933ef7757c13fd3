"""Compiles a kernel's source once a machine, with the machine's own compiler, and loads it.

A library lies in the user's cache under a name that says everything it depends on, so it is never stale; it appears
there complete or not at all, so processes that compile the same one at the same time do each other no harm.
"""

import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from . import used
from .eager import constant_in_graphs

logger = logging.getLogger(__name__)

# The oldest version of PyTorch whose stable ABI the kernels need: a library works in it and in every later one.
STABLE_ABI = "-DTORCH_TARGET_VERSION=0x020a000000000000"  # 2.10
_HEADERS = Path(__file__).parent
_LIBRARIES = ("-ltorch", "-ltorch_cpu")
# Not -ffast-math: numbers that are none have to compare as such.
_CPP_OPTIONS = (
    *("-std=c++20", "-shared", "-fPIC", "-O3", "-march=native"),
    *("-Wno-psabi", "-fno-math-errno", "-fno-trapping-math"),
)


class MissingImplementationError(RuntimeError):
    """A machine lacks what an implementation needs; the message is one sentence that says what, and what to do."""


def obstacle_to(prepare: Callable[[], None]) -> str | None:
    """Why an implementation, which `prepare` imports and makes ready, cannot run on this machine; None if it can."""
    try:
        prepare()
    except ModuleNotFoundError as error:
        return f"the package {error.name} is not installed"
    except MissingImplementationError as error:
        return str(error)
    return None


def compiled_for_cpu(source: Path) -> Path:
    """Path of the shared library that the system's C++ compiler makes of `source`.

    Raises:
        MissingImplementationError: there is no C++ compiler, or it fails, or the cache cannot be written.
    """
    compiler = next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), None)
    if compiler is None:
        raise MissingImplementationError("no C++ compiler is on the path; install g++ or clang++")
    return compiled(source, (compiler, *_CPP_OPTIONS))


@functools.cache
def load_for_cpu(source: Path) -> None:
    """Compiles and loads the operators of a C++ file, or finds them compiled or loaded.

    Raises:
        MissingImplementationError: as `compiled_for_cpu` and `load` do.
    """
    load(compiled_for_cpu(source))


@functools.cache
def obstacle_on_cpu(source: Path) -> str | None:
    """Why a C++ file's operators cannot run on this machine, which the log says once; None, and loaded, if they can."""
    obstacle = obstacle_to(functools.partial(load_for_cpu, source))
    if obstacle is not None:
        used.goes_without(source.stem, "cpp", obstacle)
    return obstacle


@constant_in_graphs
def runs_on_cpu(source: Path) -> bool:
    """Whether a C++ file's operators can run on this machine; torch.compile takes the answer for a constant."""
    return obstacle_on_cpu(source) is None


def compiled(source: Path, command: Sequence[str]) -> Path:
    """Path of the shared library that `command`, a compiler and its options, makes of `source`.

    Raises:
        MissingImplementationError: the compiler fails, or the cache cannot be written.
    """
    torch_folder = Path(torch.__file__).parent
    folder = cache_folder()
    library = folder / f"{source.stem}-{_key(source, command)}.so"
    if library.exists():
        return library
    command = [
        *command,
        STABLE_ABI,
        f"-I{torch_folder / 'include'}",
        f"-I{_HEADERS}",
        str(source),
        f"-L{torch_folder / 'lib'}",
        *_LIBRARIES,
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=folder, prefix=f"{library.stem}-", suffix=".unfinished")
    except OSError as error:
        raise MissingImplementationError(
            f"the compiled {source.name} cannot be kept in {folder} ({error.strerror}); set STMBENCH_CACHE to a folder "
            "that can be written"
        ) from error
    os.close(handle)
    logger.info("compiling %s into %s, once", source.name, folder)
    try:
        outcome = subprocess.run([*command, "-o", unfinished], capture_output=True, text=True, check=False)
        if outcome.returncode:
            raise MissingImplementationError(f"{' '.join(command)} failed:\n{outcome.stderr.strip()[:2000]}")
        os.replace(unfinished, library)
    finally:
        Path(unfinished).unlink(missing_ok=True)
    return library


def load(library: Path) -> None:
    """Loads a library, which defines its operators.

    Raises:
        MissingImplementationError: it does not suit this system.
    """
    try:
        torch.ops.load_library(library)
    except OSError as error:
        raise MissingImplementationError(f"{library} cannot be loaded ({error.__cause__}); delete it") from error


def cache_folder() -> Path:
    """STMBENCH_CACHE if set, else the user's cache folder."""
    root = (
        os.environ.get("STMBENCH_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "stmbench"
    )
    return Path(root) / "kernels"


def _key(source: Path, command: Sequence[str]) -> str:
    """Of contents and versions, not of places: a sweep's frozen copy of the code needs nothing compiled again."""
    content = b"".join(path.read_bytes() for path in (source, *sorted(_HEADERS.rglob("*.h"))))
    parts = (*command, STABLE_ABI, *_LIBRARIES, compiler_version(command[0]), torch.__version__, processor())
    return hashlib.sha256("\0".join(parts).encode() + content).hexdigest()[:20]


@functools.cache
def compiler_version(compiler: str) -> str:
    try:
        return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingImplementationError(
            f"{compiler} --version fails ({error}); repair or reinstall the compiler"
        ) from error


@functools.cache
def processor() -> str:
    """What -march=native depends on: home folders are shared between machines that differ."""
    description = Path("/proc/cpuinfo")
    if not description.exists():
        return platform.machine() + platform.processor()
    fields = dict(line.split(":", 1) for line in description.read_text().splitlines() if ":" in line)
    return "".join(
        value for name, value in sorted(fields.items()) if name.strip().lower() in ("flags", "features", "model name")
    )
