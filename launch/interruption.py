"""Being asked to stop: SIGTERM and SIGUSR2 from a cluster, Ctrl-C from a person.

The contract, for everything that starts cells:

- Slurm is told to send SIGUSR2 some time before it preempts a job or ends it (`--signal=USR2@120`), to all processes of
  the step; SIGTERM means the same. A training cell finishes its step (or its validation batch), writes a checkpoint,
  records `preempted`, and `execute` raises `Preempted`; other tasks stop where they are. The command line then exits
  with `PREEMPTED_EXIT_STATUS`, and the same command, or the job requeued, continues the cell.
- Ctrl-C does the same, ends as KeyboardInterrupt, and the command line exits with 130; a second Ctrl-C does not wait.
- Several ranks stop after the same step, whichever of them got the signal.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PREEMPTED_EXIT_STATUS = 75
"""`EX_TEMPFAIL` of sysexits.h: nothing is wrong, try again."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


class Preempted(BaseException):
    """The process was asked to stop. Not an `Exception`, so that no handler of ordinary failures takes it for one."""


class Interruption:
    """What a cell knows about being asked to stop. `asked` is polled by tasks that can stop in good order."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._polled = False

    def asked(self, within_seconds: float = 0.0) -> bool:
        """Whether a signal came, or comes in the next moment."""
        deadline = time.monotonic() + within_seconds
        while self.signal is None and time.monotonic() < deadline:
            time.sleep(0.02)  # a threading.Event could lock itself up when its handler interrupts its wait
        return self.signal is not None

    @contextmanager
    def polled(self) -> Iterator[None]:
        """Inside, a signal is only noted, because the task asks; a second Ctrl-C is not patient."""
        self._polled = True
        try:
            yield
        finally:
            self._polled = False

    def error(self) -> BaseException:
        """What ends the program when the task has put its things in order."""
        if self.signal is signal.SIGINT:
            return KeyboardInterrupt()
        return Preempted("another rank was asked to stop" if self.signal is None else self.signal.name)

    def receive(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal, signal.Signals(number)
        if not self._polled or (again is self.signal is signal.SIGINT):
            raise self.error()


def exit_status(stop: BaseException) -> int:
    """Of a program that ends because it was asked to; says so to the person at the terminal."""
    print("Stopped; the same command continues where this one ended.", file=sys.stderr)
    return PREEMPTED_EXIT_STATUS if isinstance(stop, Preempted) else 128 + signal.SIGINT


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Inside, the signals go to the interruption. Where Python allows no handlers (another thread), none come."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    previous = {number: signal.signal(number, interruption.receive) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
