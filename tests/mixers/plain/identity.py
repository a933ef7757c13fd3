"""Identity, pixel by pixel."""

from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters


def identity(parameters: Parameters, x: Tensor) -> Tensor:
    return x.clone()


PLAIN = Plain(
    identity,
    cases=[Case()],
)
