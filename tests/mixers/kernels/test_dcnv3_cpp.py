"""The C++ implementation: equal to the reference, safe with anything that offsets can be, compiled once."""

import logging
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from mixers.kernels import used
from mixers.kernels.compiler import compiled, load, load_for_cpu
from mixers.kernels.dcnv3 import MissingImplementationError, dcnv3, implementation_for, implementations

from .cases import CASES, Case, assert_equals_reference

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler here")
CPP = implementations.module_of("cpp")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "weights_dtype"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.bfloat16, torch.float32),
    ],
    ids=str,
)
def test_equals_reference(case: Case, dtype: torch.dtype, weights_dtype: torch.dtype):
    assert implementation_for(torch.empty(0, dtype=dtype)) == "cpp"
    assert_equals_reference(case, "cpp", dtype, weights_dtype)


def test_any_number_of_threads_gives_the_same_bits():
    case = Case("threads", (9, 8), groups=3, width=12)
    inputs = case.tensors(torch.float32)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            output = dcnv3(*inputs, **case.options, implementation="cpp")
            results.append((output, *torch.autograd.grad(output.square().sum(), inputs)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, four) for one, four in zip(*results, strict=True))


def test_more_elements_than_32_bits_can_number():
    """The last pixel of a map of 2^31 + 2^16 elements; no other is written or read, so it takes no memory."""
    value = torch.empty(1, 32768, 32769, 2, dtype=torch.bfloat16)
    value[0, -1, -1] = torch.tensor((3.0, 4.0))
    offsets = torch.tensor((32768.0, 32767.0)).expand(1, 1, 1, 1, 1, 2)
    output = dcnv3(value, offsets, torch.ones(1, 1, 1, 1, 1), kernel_size=1, stride=40000, implementation="cpp")
    assert output.flatten().tolist() == [3, 4]


def test_threads_that_compile_the_same_source_get_one_complete_library(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("STMBENCH_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "answer.cpp"
    source.write_text('extern "C" int answer() { return 42; }\n')
    command = (shutil.which("c++"), "-shared", "-fPIC")
    with ThreadPoolExecutor(4) as pool:
        libraries = {future.result() for future in [pool.submit(compiled, source, command) for _ in range(4)]}
    assert list((tmp_path / "cache" / "kernels").iterdir()) == list(libraries)
    (library,) = libraries
    built = library.stat().st_mtime_ns
    assert compiled(source, command).stat().st_mtime_ns == built
    (tmp_path / "copy").mkdir()
    assert compiled(Path(shutil.copy(source, tmp_path / "copy")), command) == library

    source.write_text('extern "C" int answer() { return 43; }\n')
    assert compiled(source, command) != library
    assert compiled(source, (*command, "-O2")) not in (library, compiled(source, command))


def test_source_that_does_not_compile_leaves_nothing_behind(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("STMBENCH_CACHE", str(tmp_path))
    source = tmp_path / "broken.cpp"
    source.write_text("int broken(\n")
    with pytest.raises(MissingImplementationError, match=r"broken\.cpp"):
        compiled(source, (shutil.which("c++"), "-shared", "-fPIC"))
    assert not list((tmp_path / "kernels").iterdir())


def test_library_that_does_not_load_is_named(tmp_path: Path):
    library = tmp_path / "truncated.so"
    library.write_bytes(b"\x7fELF")
    with pytest.raises(MissingImplementationError, match=r"truncated\.so cannot be loaded .*; delete it"):
        load(library)


def test_cache_that_cannot_be_written_says_what_to_set(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STMBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(MissingImplementationError, match="STMBENCH_CACHE"):
        compiled(Path(__file__), (shutil.which("c++"),))


@pytest.fixture
def forgotten(monkeypatch):
    """As in a new process: nothing is known yet about what this machine has."""
    remembered = (load_for_cpu, implementations._obstacle)
    monkeypatch.setattr(used, "_obstacles", {})
    for function in remembered:
        function.cache_clear()
    yield
    monkeypatch.undo()
    for function in remembered:
        function.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_without_a_compiler_the_reference_is_used_and_the_log_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    case = CASES[0]
    inputs = case.tensors(torch.float32)
    with caplog.at_level(logging.WARNING):
        assert implementation_for(inputs[0]) == "reference"
        output = dcnv3(*inputs, **case.options)
    assert torch.equal(output, dcnv3(*inputs, **case.options, implementation="reference"))
    (record,) = caplog.records
    assert "no C++ compiler" in record.getMessage()
    with pytest.raises(MissingImplementationError, match="install g\\+\\+ or clang\\+\\+"):
        dcnv3(*inputs, **case.options, implementation="cpp")


@pytest.mark.slow
def test_command_builds_ahead_of_use(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("STMBENCH_CACHE", str(tmp_path))
    outcome = subprocess.run([sys.executable, "-m", "mixers.kernels"], capture_output=True, text=True, check=True)
    assert "dcnv3 cpp: " in outcome.stdout
    assert "dcnv3 cuda: " in outcome.stdout
    assert list((tmp_path / "kernels").glob("dcnv3-*.so"))
