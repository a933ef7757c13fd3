"""The mixers by name: this package's own, installed plug-ins', and a user's single file."""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from .contract import Mixer

MIXERS: dict[str, type[Mixer]] = {}
ENTRY_POINT_GROUP = "stmbench.mixers"
OPTION_TYPES = {int, float, bool, str, NoneType}

MixerClass = TypeVar("MixerClass", bound=type[Mixer])


def register(name: str) -> Callable[[MixerClass], MixerClass]:
    """Class decorator: makes a mixer known as `name` to configs, networks, tests and tables.

    Raises:
        ValueError: `name` is taken, or the constructor is not `(dim, resolution, *, options)` with scalar options.
        TypeError: the decorated object is not a subclass of Mixer.
    """

    def add(mixer_class: MixerClass) -> MixerClass:
        if not (isinstance(mixer_class, type) and issubclass(mixer_class, Mixer)):
            raise TypeError(f"{mixer_class!r} cannot be the mixer {name!r}: it is not a subclass of mixers.Mixer")
        if name in MIXERS:
            raise ValueError(f"mixer {name!r} exists already ({MIXERS[name].__module__}.{MIXERS[name].__qualname__})")
        _check_signature(name, mixer_class)
        MIXERS[name] = mixer_class
        return mixer_class

    return add


def mixer_options(name: str) -> Mapping[str, inspect.Parameter]:
    """Keyword-only constructor arguments of mixer `name`: type and default of each option.

    Raises:
        ValueError: no mixer has this name.
    """
    if name not in MIXERS:
        raise ValueError(f"unknown mixer {name!r}; choose from {', '.join(sorted(MIXERS))}")
    parameters = inspect.signature(MIXERS[name], eval_str=True).parameters
    return {key: value for key, value in parameters.items() if value.kind is inspect.Parameter.KEYWORD_ONLY}


def build_mixer(name: str, dim: int, resolution: tuple[int, int], **options: Any) -> Mixer:
    """Mixer `name` for maps of `dim` channels and usually `resolution` (H, W) pixels.

    Raises:
        ValueError: unknown mixer, unknown, missing or wrongly typed option, or a value that the mixer cannot have.
    """
    check_options(name, options)
    missing = [key for key, each in mixer_options(name).items() if each.default is each.empty and key not in options]
    if missing:
        raise ValueError(f"mixer {name!r} needs a value for {', '.join(missing)}")
    return MIXERS[name](dim, resolution, **options)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises: ValueError for an option that mixer `name` does not have, or a value that is not of the option's type."""
    known = mixer_options(name)
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"mixer {name!r} has no option {option!r}; choose from {', '.join(known) or 'none'}")
        if not _has_type(value, known[option].annotation):
            wanted = inspect.formatannotation(known[option].annotation)
            raise ValueError(f"{option}={value!r}: mixer {name!r} wants {wanted}, not {type(value).__name__}")


def module_digest(path: str | Path) -> str:
    """Tells one version of a user's mixer file from another: 12 hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]


def load_mixer_module(path: str | Path, digest: str | None = None) -> ModuleType:
    """Imports a user's mixer file, so that what it registers is in `MIXERS`; a file loaded before is not run again.

    Args:
        digest: the `module_digest` of the version that is wanted; None: any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is another version, or registers no mixer, or a name that exists.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"mixer module {path} does not exist")
    # Two users' files may have the same name; the module must stay in sys.modules for its classes to be pickled.
    module_name = f"mixer_module_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    if digest is not None and (found := module_digest(file)) != digest:
        raise ValueError(f"mixer module {path} was edited, {digest} is now {found}: give the whole command again")
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"mixer module {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = set(MIXERS)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
        if set(MIXERS) == before:
            raise ValueError(f"{path} registers no mixer: decorate its class with @mixers.register(name)")
    except BaseException:
        # A corrected file can then be loaded in the same session.
        del sys.modules[module_name]
        for name in set(MIXERS) - before:
            del MIXERS[name]
        raise
    return module


def load_entry_points() -> None:
    """Imports the modules that installed packages announce as `stmbench.mixers`; each registers its own mixers.

    Raises:
        ImportError: one of them cannot be imported; it is named.
    """
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            importlib.import_module(entry_point.module)
        except Exception as error:
            raise ImportError(
                f"the installed mixer plug-in {entry_point.name!r} ({entry_point.value}) fails"
            ) from error


def _check_signature(name: str, mixer_class: type[Mixer]) -> None:
    for key, parameter in inspect.signature(mixer_class, eval_str=True).parameters.items():
        if key in ("dim", "resolution"):
            continue
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise ValueError(f"mixer {name!r}: argument {key!r} must be keyword-only (placed after *), and no **kwargs")
        if not set(_types(parameter.annotation)) <= OPTION_TYPES:
            raise ValueError(
                f"mixer {name!r}: option {key!r} must be annotated int, float, bool or str (or one | None)"
            )


def _has_type(value: Any, annotation: Any) -> bool:
    # Exact types, because True is an int to isinstance and a mistake in a window size.
    return type(value) in _types(annotation) or (type(value) is int and float in _types(annotation))


def _types(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
