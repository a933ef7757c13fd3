"""The tree itself: imports point one way, the packages are this repository's, and the code is formatted."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("mixers", "architectures", "training", "analysis", "tasks", "launch", "conf")
TOOLS = Path(sys.executable).parent


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_the_one_in_this_repository(package):
    """The folder names are plain words, so another distribution could own one of them."""
    spec = importlib.util.find_spec(package)
    assert Path(spec.origin).resolve() == (ROOT / package / "__init__.py").resolve()


def test_the_packages_resolve_from_another_directory(tmp_path):
    code = f"import {', '.join(PACKAGES)}; print(mixers.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).resolve() == (ROOT / "mixers" / "__init__.py").resolve()


@pytest.mark.parametrize(
    "arguments", [["lint-imports", "--no-cache"], ["ruff", "check", "."], ["ruff", "format", "--check", "."]]
)
def test_the_code_obeys(arguments):
    done = subprocess.run([TOOLS / arguments[0], *arguments[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kernels_know_nothing_of_mixers():
    """The last step of the direction; the linter's layers cannot have a package and its own part."""
    graph = grimp.build_graph("mixers", cache_dir=None)
    kernels = {"mixers.kernels", *graph.find_descendants("mixers.kernels")}
    imported = set().union(*(graph.find_modules_directly_imported_by(module) for module in kernels))
    assert imported
    assert imported <= kernels


def test_an_import_against_the_direction_is_found(tmp_path):
    """The linter's contract can fail: a mixer that imports an architecture is named."""
    for package in (*PACKAGES, "benchmarks"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "mixers" / "kernels").mkdir()
    (tmp_path / "mixers" / "kernels" / "__init__.py").touch()
    (tmp_path / "mixers" / "halo.py").write_text("import architectures\n")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    done = subprocess.run([TOOLS / "lint-imports", "--no-cache"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "mixers.halo -> architectures" in done.stdout


def test_what_needs_no_network_imports_no_torch():
    code = (
        "import sys, conf, launch, launch.__main__, analysis.table, analysis.report\n"
        "conf.register_overview_groups()\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
