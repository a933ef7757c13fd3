"""WHAT is compared: spatial token mixers, one file and one paper each.

A file placed in this folder is imported here and registers itself; nothing else needs an edit.
"""

import importlib
import pkgutil

from .contract import Mixer
from .registry import (
    MIXERS,
    build_mixer,
    check_options,
    load_entry_points,
    load_mixer_module,
    load_user_file,
    loaded_digest,
    mixer_identity,
    mixer_options,
    register,
    source_digest,
)
from .sources import module_digest, own_modules

for _file in pkgutil.iter_modules(__path__):
    if not _file.ispkg and _file.name != "__main__":
        importlib.import_module(f".{_file.name}", __name__)

load_entry_points()

__all__ = [
    "MIXERS",
    "Mixer",
    "build_mixer",
    "check_options",
    "load_mixer_module",
    "load_user_file",
    "loaded_digest",
    "mixer_identity",
    "mixer_options",
    "module_digest",
    "own_modules",
    "register",
    "source_digest",
]
