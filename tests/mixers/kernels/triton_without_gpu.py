"""How kernels in Triton are checked on a machine without a GPU: interpreted, and compiled for one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel

_TYPES = {torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.float32: "*fp32", torch.int64: "*i64"}


def assert_interpreted_tests_pass(file: str, chosen: str) -> None:
    """Runs tests of a file beside this one in a process of its own: Triton decides when it is imported to interpret."""
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, Path(__file__).with_name(file)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout


class Recorder:
    """Takes a kernel's place and keeps what it would have been launched with."""

    def __init__(self, kernel: triton.JITFunction) -> None:
        self.kernel = kernel
        self.launches: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> "Recorder":
        return self

    def __call__(self, *arguments: Any, **constants: Any) -> None:
        self.launches.append((arguments, constants))

    def compiled(self, architecture: int) -> CompiledKernel:
        """What the last launch would have compiled for an NVIDIA GPU of compute capability `architecture` / 10."""
        arguments, constants = self.launches[-1]
        names = self.kernel.arg_names
        options = {name: value for name, value in constants.items() if name not in names}
        given = dict(zip(names, arguments, strict=False)) | {
            name: constants[name] for name in names if name in constants
        }
        signature: dict[str, Any] = {}
        fixed: dict[tuple[int, ...], Any] = {}
        attributes: dict[tuple[int, ...], Any] = {}

        def described(value: Any, path: tuple[int, ...], *, constant: bool = False) -> Any:
            if isinstance(value, tuple):
                return tuple(described(item, (*path, place)) for place, item in enumerate(value))
            # Triton makes constants of arguments that are 1 or None, and knows of those that 16 divides.
            if constant or value is None or (isinstance(value, int) and value == 1):
                fixed[path] = value
                return "constexpr"
            if isinstance(value, Tensor) or (isinstance(value, int) and value % 16 == 0):
                attributes[path] = [["tt.divisibility", 16]]
            if isinstance(value, Tensor):
                return _TYPES[value.dtype]
            return "fp32" if isinstance(value, float) else "i32"

        for place, name in enumerate(names):
            signature[name] = described(given[name], (place,), constant=name in constants)
        source = ASTSource(self.kernel, signature, fixed, attributes)
        return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
