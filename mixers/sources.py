"""Which files a mixer from outside this repository consists of, and a digest that tells one version from another.

A mixer's file is read together with the modules that it imports, and those import in turn, as far as they are the
user's own: beside the file, or in a folder of `sys.path` into which nothing was installed. Imports are read from the
text, so those within a function count; what a module loads in another way (`importlib.import_module`, a data file)
does not. A folder is a package if it holds an `__init__.py`.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[1]
SUFFIXES = (".py", *EXTENSION_SUFFIXES)
INSTALLED = ("site-packages", "dist-packages")
# Of an installed package, what decides a result: compiled sources are written beside the code that loads them.
SOURCES = frozenset((*SUFFIXES, ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp"))


def own_modules(file: Path) -> dict[str, Path]:
    """The user's modules that the mixer's `file` needs, by the names under which they are imported.

    Raises: ValueError naming a file that is no Python.
    """
    folders = _folders(file)
    found: dict[str, Path] = {}
    waiting = [("", file)]
    while waiting:
        package, path = waiting.pop()
        for name in _imported(path, package):
            place = None if name in found else _find(name, folders)
            if place is not None:
                found[name] = place
                if place.suffix == ".py":
                    waiting.append((name if place.stem == "__init__" else name.rpartition(".")[0], place))
    return found


def module_digest(path: str | Path) -> str:
    """Tells one version of a user's mixer file, with the modules of `own_modules`, from another: 12 hexadecimal digits.

    Raises: ValueError as `own_modules`.
    """
    file = Path(path)
    return _digest(file.read_bytes(), own_modules(file))


def package_digest(module: ModuleType) -> str:
    """The same for `module` of an installed package: of all its package's sources, or of its one file.

    Raises: ValueError where there is no file, as for what was typed into a session.
    """
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    file = getattr(top, "__file__", None)
    if file is None:
        raise ValueError(f"module {module.__name__} is in no file, so that nobody could tell its versions apart")
    path = Path(file)
    if path.name != "__init__.py":
        return module_digest(path)
    members = {
        member.relative_to(path.parent).as_posix(): member
        for member in path.parent.rglob("*")
        if member.suffix in SOURCES and member.is_file()
    }
    return _digest(b"", members)


class OwnModules:
    """Python asks this for modules before it looks elsewhere: it knows the files of `own_modules`, and no others.

    So a mixer's file finds what lies beside it wherever it is run from, and a frozen copy finds its frozen modules; a
    file of the same folder that happens to be called like an installed package is in nobody's way.
    """

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}

    def add(self, modules: Mapping[str, Path]) -> None:
        """Raises: ValueError for another module of a name that is taken; Python can have only one of them."""
        for name, file in modules.items():
            loaded = getattr(sys.modules.get(name), "__file__", None)
            taken = self._files.get(name) or (Path(loaded) if loaded else None)
            if taken is not None and taken.resolve() != file.resolve() and taken.read_bytes() != file.read_bytes():
                raise ValueError(f"module {name} of {file} is another one than {taken}, which is loaded: rename one")
        self._files |= {name: file for name, file in modules.items() if name not in self._files}
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def forget(self, modules: Iterable[str]) -> None:
        """So that corrected files can be loaded in the same session."""
        for name in modules:
            self._files.pop(name, None)
            sys.modules.pop(name, None)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._files.get(name)
        if file is None:
            return None
        inside = [str(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=inside)


def _digest(content: bytes, members: Mapping[str, Path]) -> str:
    digest = hashlib.sha256(content)
    for name, path in sorted(members.items()):
        member = path.read_bytes()
        digest.update(f"\0{name}\0{len(member)}\0".encode())
        digest.update(member)
    return digest.hexdigest()[:12]


def _folders(file: Path) -> list[Path]:
    """Where the modules of a user may lie; folders that packages were installed into hold their `.dist-info`."""
    others = [Path(entry) for entry in sys.path if entry and Path(entry).name not in INSTALLED]
    return [file.parent, *(folder for folder in others if folder.is_dir() and not any(folder.glob("*.dist-info")))]


def _imported(path: Path, package: str) -> Iterator[str]:
    """Names that may be modules: of `import a.b` a and a.b, of `from a import b` the same; `package` has the file."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:  # a null byte is a ValueError before Python 3.12
        raise ValueError(f"{path} is not Python that can be read: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level and package else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    """The user's file of the module, if it is one of the user's."""
    top, *_ = parts = name.split(".")
    if top in sys.stdlib_module_names or (REPOSITORY / top / "__init__.py").is_file() or not all(parts):
        return None
    for folder in folders:
        base = folder.joinpath(*parts)
        candidates = (base / "__init__.py", *(base.with_name(f"{base.name}{suffix}") for suffix in SUFFIXES))
        if (place := next((path for path in candidates if path.is_file()), None)) is not None:
            return place
    return None
