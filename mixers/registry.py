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
from .sources import OwnModules, module_digest, own_modules, package_digest

MIXERS: dict[str, type[Mixer]] = {}
ENTRY_POINT_GROUP = "stmbench.mixers"
OPTION_TYPES = {int, float, bool, str, NoneType}

MixerClass = TypeVar("MixerClass", bound=type[Mixer])

_OWN_MODULES = OwnModules()
_LOADED: dict[str, str] = {}
"""Of each user's file that was loaded, by the name of its module: its digest as it was then."""
# Of each mixer from outside, and of each user's file by its module's name, the digest of what was loaded.
_DIGESTS: dict[type[Mixer] | str, str] = {}


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
    known = mixer_options(name)
    missing = [key for key, option in known.items() if option.default is option.empty and key not in options]
    if missing:
        raise ValueError(f"mixer {name!r} needs a value for {', '.join(missing)}")
    mixer = MIXERS[name](dim, resolution, **options)
    mixer.options = {key: options.get(key, option.default) for key, option in known.items()}
    return mixer


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises: ValueError for an option that mixer `name` does not have, or a value that is not of the option's type."""
    known = mixer_options(name)
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"mixer {name!r} has no option {option!r}; choose from {', '.join(known) or 'none'}")
        if not _has_type(value, known[option].annotation):
            wanted = inspect.formatannotation(known[option].annotation)
            raise ValueError(f"{option}={value!r}: mixer {name!r} wants {wanted}, not {type(value).__name__}")


def source_digest(name: str) -> str | None:
    """Tells versions of a mixer from outside this repository apart, see `mixers.sources`; None for one of its own.

    It is that of the files as they were when they were loaded, whatever became of them since.

    Raises: ValueError for a mixer that is in no file.
    """
    mixer_class = MIXERS[name]
    if mixer_class.__module__.startswith(f"{__package__}."):
        return None
    if mixer_class not in _DIGESTS:
        _DIGESTS[mixer_class] = package_digest(sys.modules[mixer_class.__module__])
    return _DIGESTS[mixer_class]


def mixer_identity(mixer: Mixer) -> dict[str, Any]:
    """What decides what a mixer built by `build_mixer` computes: its name, the source of one from outside, its options.

    Options are as resolved, so that a default that is spelt out and one that is left out are the same, and a changed
    default is another. One that has the value in `Mixer.neutral` is left out, so that adding it changes nothing.
    """
    name = next(name for name, mixer_class in MIXERS.items() if mixer_class is type(mixer))
    options = {key: value for key, value in mixer.options.items() if (key, value) not in mixer.neutral.items()}
    return {"mixer": name, "source": source_digest(name), "dim": mixer.dim, "options": options}


def load_mixer_module(path: str | Path, digest: str | None = None) -> ModuleType:
    """Imports a user's mixer file, so that what it registers is in `MIXERS`; a file loaded before is not run again.

    Modules beside the file can be imported by it, from whatever folder the program was started.

    Args:
        digest: the `module_digest` of the version that is wanted; None: any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file, or a module that it imports, is another version; or it registers no mixer, or a name that
            exists.
    """
    before = set(MIXERS)
    module, found = load_user_file(path, "mixer", MIXERS, "@mixers.register(name)", digest)
    _DIGESTS.update(dict.fromkeys([module.__name__, *(MIXERS[name] for name in set(MIXERS) - before)], found))
    return module


def load_user_file(
    path: str | Path, kind: str, registry: dict[str, Any], decorator: str, digest: str | None = None
) -> tuple[ModuleType, str]:
    """The module of a user's file that registers something of this `kind` in `registry`, and its `module_digest`.

    A file loaded before is not run again. Raises: as `load_mixer_module`.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"{kind} module {path} does not exist")
    module_name = _module_name(file, kind)
    if module_name in sys.modules:
        return sys.modules[module_name], _LOADED[module_name]
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{kind} module {path} is not a Python file")
    found, modules = module_digest(file), own_modules(file)
    if digest is not None and found != digest:
        raise ValueError(f"{kind} module {path} was edited, {digest} is now {found}: give the whole command again")
    module = importlib.util.module_from_spec(spec)
    before = set(registry)
    _OWN_MODULES.add(modules)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
        if set(registry) == before:
            raise ValueError(f"{path} registers no {kind}: decorate its class with {decorator}")
    except BaseException:
        # A corrected file can then be loaded in the same session.
        del sys.modules[module_name]
        _OWN_MODULES.forget(modules)
        for name in set(registry) - before:
            del registry[name]
        raise
    _LOADED[module_name] = found
    return module, found


def loaded_digest(path: str | Path) -> str:
    """The `module_digest` of a user's mixer file as it was when it was loaded."""
    return _DIGESTS[_module_name(Path(path).resolve(), "mixer")]


def _module_name(file: Path, kind: str) -> str:
    # Two users' files may have the same name; the module must stay in sys.modules for its classes to be pickled.
    return f"{kind}_module_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"


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
