"""How many bytes a mixer has to move at the least."""

from collections.abc import Iterable

from torch import Tensor


def compulsory_bytes(x: Tensor, output: Tensor, parameters: Iterable[Tensor], *, training: bool) -> int:
    """Bytes of a step whose intermediate results never leave the caches, each tensor in the dtype that it has.

    Forward: input and parameters are read, the output is written. Training also reads all of these gradients' factors
    (input, parameters, the output's gradient) and writes the gradients of input and parameters.
    """
    read, written = _bytes(x) + sum(_bytes(parameter) for parameter in parameters), _bytes(output)
    return 3 * read + 2 * written if training else read + written


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
