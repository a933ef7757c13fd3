"""When operations are computed now, and what compiled graphs take as given."""

import subprocess
import sys

import torch

from mixers.kernels.eager import constant_in_graphs


def test_a_constant_of_graphs_is_marked_as_pytorch_marks_it() -> None:
    def ours() -> bool:
        return True

    def theirs() -> bool:
        return True

    assert vars(constant_in_graphs(ours)) == vars(torch.compiler.assume_constant_result(theirs)) != {}


def test_importing_mixers_does_not_import_the_compiler() -> None:
    """It takes seconds, and `--help` needs the mixers."""
    code = "import sys, torch; import mixers; print('torch._dynamo' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
