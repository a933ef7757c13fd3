"""`python -m mixers.kernels.dcnv3` compiles, ahead of first use, the kernels that this machine has compilers for."""

from collections.abc import Callable
from pathlib import Path

from . import cpp_kernels, cuda_kernels
from .compiler import MissingImplementationError


def report(name: str, build: Callable[[], Path]) -> None:
    try:
        print(f"{name}: {build()}")
    except MissingImplementationError as error:
        print(f"{name}: left out, {error}")


report("cpp", cpp_kernels.build)
report("cuda", cuda_kernels.build)
