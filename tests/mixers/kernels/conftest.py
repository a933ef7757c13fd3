"""Machines that lack something."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mixers.kernels import compiler, used


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without a C++ compiler, on which nothing was asked for yet."""

    def load_for_cpu(source: Path) -> None:
        raise compiler.MissingImplementationError("no C++ compiler is on the path")

    monkeypatch.setattr(compiler, "load_for_cpu", load_for_cpu)
    monkeypatch.setattr(used, "_obstacles", {})
    compiler.obstacle_on_cpu.cache_clear()
    yield
    compiler.obstacle_on_cpu.cache_clear()
