"""What the machine can do at its best, measured in the same turns as the candidates: others are shares of it."""

import statistics
from collections.abc import Iterable

import torch

from .steps import Step
from .turns import Runner, latencies

# Large enough to keep every core busy, or to be far beyond any cache; small enough to take a turn.
PRODUCT_SIDE = {"cpu": 2048, "cuda": 8192}
COPIED_BYTES = {"cpu": 2**28, "cuda": 2**31}


def matrix_product(device: torch.device, dtype: torch.dtype) -> tuple[Step, int]:
    """A step that multiplies two large square matrices, and its multiply-accumulates."""
    side = PRODUCT_SIDE[device.type]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    result = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=result), side**3


def copy(device: torch.device) -> tuple[Step, int]:
    """A step that copies memory, and the bytes that it reads and writes."""
    source = torch.ones(COPIED_BYTES[device.type] // 4, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2 * COPIED_BYTES[device.type]


class MachineRates:
    """The rates of matrix products, one for each of `dtypes`, and of copies, by `runners` that take part in turns."""

    def __init__(self, device: torch.device, dtypes: Iterable[torch.dtype]) -> None:
        self._products = {dtype: _start(matrix_product(device, dtype), device) for dtype in dtypes}
        self._copies = _start(copy(device), device)

    @property
    def runners(self) -> list[Runner]:
        return [runner for runner, _ in (*self._products.values(), self._copies)]

    def gmacs_per_second(self, dtype: torch.dtype) -> float:
        """10⁹ multiply-accumulates per second of a large matrix product."""
        return _rate(*self._products[dtype])

    @property
    def gb_per_second(self) -> float:
        """10⁹ bytes per second, read and written, of a copy."""
        return _rate(*self._copies)


def _start(step_and_amount: tuple[Step, int], device: torch.device) -> tuple[Runner, int]:
    step, amount = step_and_amount
    return Runner(step, min(latencies(step, 2, device)) / 1000), amount


def _rate(runner: Runner, amount: int) -> float:
    return amount / statistics.median(runner.latencies) / 1e6
