"""`python -m mixers.kernels` compiles, ahead of first use, the kernels that this machine has compilers for."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from .compiler import MissingImplementationError, compiled_for_cpu
from .dcnv3 import cpp_kernels as dcnv3_cpp
from .dcnv3 import cuda_kernels
from .depthwise import cpp_kernels as depthwise_cpp
from .gelu.function import SOURCE as GELU
from .local_attention import cpp_kernels as local_attention_cpp
from .residual.function import SOURCE as RESIDUAL
from .selective_scan import cpp_kernels as selective_scan_cpp
from .softmax import cpp_kernels as softmax_cpp


def report(name: str, build: Callable[[], Path]) -> None:
    try:
        print(f"{name}: {build()}")
    except MissingImplementationError as error:
        print(f"{name}: left out, {error}")


report("dcnv3 cpp", partial(compiled_for_cpu, dcnv3_cpp.SOURCE))
report("dcnv3 cuda", cuda_kernels.build)
report("local attention cpp", partial(compiled_for_cpu, local_attention_cpp.SOURCE))
report("depthwise cpp", partial(compiled_for_cpu, depthwise_cpp.SOURCE))
report("softmax cpp", partial(compiled_for_cpu, softmax_cpp.SOURCE))
report("gelu cpp", partial(compiled_for_cpu, GELU))
report("residual cpp", partial(compiled_for_cpu, RESIDUAL))
report("selective scan cpp", partial(compiled_for_cpu, selective_scan_cpp.SOURCE))
