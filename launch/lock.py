"""One process a cell: a lock that does not outlive its owner, and the owner's heartbeat.

The contract, for everything that looks after cells:

- `CELL/lock` is there while a process works on the cell, and is removed when that process ends, however it ends short
  of SIGKILL. It holds one JSON object, the fields of `Owner`: host, process and what tells both from later ones of the
  same name; `beat`, the time (ISO 8601, UTC) of the newest heartbeat, written every `BEAT_SECONDS`; and `progress`,
  what the task last said about itself (training: epoch, step, images per second, ...). `owner_of` reads it.
- A second process is refused (`CellBusyError`) while the first lives. Of the same machine, that is known at once: from
  the lock that the kernel holds on the file, or, where the file system has no such locks, from the process table. Of
  another machine it is seen: a lock whose beats stand still for `PATIENCE_SECONDS` is a dead one's, and is taken over.
  No clock is compared with another, and none has to run forwards.
- A process that was stopped for so long that another one took over finds out at its next beat: `lost` is set, and it
  writes nothing more.
"""

import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from analysis.record import timestamp

BEAT_SECONDS = 20.0
PATIENCE_SECONDS = 3 * BEAT_SECONDS
FILE_BYTES = 4096
"""The file never grows, so that a heartbeat can be written on a full disk."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """A process, so named that no other one is meant, now or after a reboot."""

    host: str
    process: int
    born: int | None  # when the process started, in the kernel's ticks since `boot`
    boot: str  # the kernel's name of this run of the machine
    namespace: str  # processes are numbered anew in each (a container has its own)
    started: str
    beat: str
    progress: Mapping[str, Any] = field(default_factory=dict)


class CellBusyError(Exception):
    """Another process works on the cell; the message names it."""


def owner_of(directory: Path) -> Owner | None:
    """Whose lock lies on the cell in `directory`, alive or not; None where there is none."""
    try:
        return _parse((directory / "lock").read_bytes())
    except FileNotFoundError:
        return None


class CellLock:
    """Holds the lock of the cell in `directory` inside a `with` block.

    Args:
        on_beat: called with each heartbeat, in the heartbeat's own thread.

    Raises:
        CellBusyError: on entering, when another process holds it.
        OSError: the directory cannot be written to.
    """

    def __init__(
        self,
        directory: Path,
        *,
        beat_seconds: float = BEAT_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = directory / "lock"
        self.beat_seconds = beat_seconds
        self.patience_seconds = patience_seconds
        self.on_beat = on_beat
        self.progress: Mapping[str, Any] = {}
        self.lost = False
        self._me = _this_process()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        while True:
            try:
                self._file = self._create()
                break
            except FileExistsError:
                self._remove_what_a_dead_one_left()
        _HELD.add(self._file)
        self._ended.clear()
        self._thread = threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        try:
            if self._is_mine():
                self.path.unlink()
        except OSError as error:  # nothing can be changed here any more; the kernel's lock ends all the same
            log.warning("%s stays behind: %s", self.path, error)
        _HELD.discard(self._file)
        os.close(self._file)

    def _create(self) -> int:
        """The descriptor of a new lock file, which appears with its content, locked. Raises FileExistsError."""
        draft = self.path.with_name(f".lock.{self._me.host}.{self._me.process}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            _lock(descriptor)
            self._write(descriptor)
            os.link(draft, self.path)
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            draft.unlink()
        return descriptor

    def _remove_what_a_dead_one_left(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            owner = _parse(os.pread(descriptor, FILE_BYTES, 0))
            try:
                locks_work = self._lock_of(owner, descriptor)
            except BlockingIOError as error:
                raise CellBusyError(_description(owner)) from error
            if self._lives(owner, locks_work):
                raise CellBusyError(_description(owner))
            if self._is_still(descriptor):
                log.warning("%s: its owner is gone (%s); taking over", self.path, _description(owner))
                self.path.unlink()
        finally:
            os.close(descriptor)

    def _lock_of(self, owner: Owner | None, descriptor: int) -> bool:
        """What `_lock` says; a child that a dead owner forked at its end gets the time to let go of the lock."""
        deadline = time.monotonic() + self.patience_seconds
        while True:
            try:
                return _lock(descriptor)
            except BlockingIOError:
                if not self._is_known_to_be_dead(owner) or time.monotonic() > deadline:
                    raise
            time.sleep(self.beat_seconds / 100)

    def _is_known_to_be_dead(self, owner: Owner | None) -> bool:
        """Whether `owner` was a process that this one would see, and is gone."""
        if owner is None or (owner.boot, owner.namespace) != (self._me.boot, self._me.namespace):
            return False
        return _born(owner.process) != owner.born

    def _lives(self, owner: Owner | None, locks_work: bool) -> bool:
        """Whether the owner of a file that the kernel let us lock is alive all the same."""
        if owner is not None and owner.boot == self._me.boot:
            if locks_work:
                return False
            if owner.namespace == self._me.namespace:
                return _born(owner.process) == owner.born
        log.info("%s is held by %s: waiting for a sign of life", self.path, _description(owner))
        before = self._content()
        deadline = time.monotonic() + self.patience_seconds
        while time.monotonic() < deadline:
            time.sleep(self.beat_seconds / 10)
            if self._content() != before:
                return self.path.exists()
        return False

    def _content(self) -> bytes | None:
        """Read anew each time, because only opening a file makes a network file system ask the server."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def _is_still(self, descriptor: int) -> bool:
        """Whether `path` is the file that `descriptor` opened, not one that another process put there since."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _is_mine(self) -> bool:
        owner = _parse(self._content() or b"")
        return owner is not None and (owner.process, owner.born, owner.boot) == (
            self._me.process,
            self._me.born,
            self._me.boot,
        )

    def _write(self, descriptor: int) -> None:
        content = asdict(self._me) | {"beat": timestamp(), "progress": dict(self.progress)}
        os.pwrite(descriptor, json.dumps(content).encode().ljust(FILE_BYTES), 0)
        os.fsync(descriptor)

    def _keep_beating(self) -> None:
        while not self._ended.wait(self.beat_seconds):
            try:
                if not self._is_mine():
                    self.lost = True
                    log.error("%s: another process took this cell over", self.path)
                    return
                self._write(self._file)
            except OSError as error:
                log.warning("no heartbeat in %s: %s", self.path, error)
            self.on_beat()


_HELD: set[int] = set()


def _close_in_child() -> None:
    """A data worker must not keep the lock of a parent that was killed."""
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_close_in_child)


def _lock(descriptor: int) -> bool:
    """Whether the file is ours now; False where the file system has no locks. Raises BlockingIOError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # ENOLCK, ENOTSUP or ENOSYS, as the file system likes
        return False
    return True


def _parse(content: bytes) -> Owner | None:
    try:
        return Owner(**json.loads(content))
    except (ValueError, TypeError):
        return None


def _description(owner: Owner | None) -> str:
    if owner is None:
        return "an unknown process"
    return f"process {owner.process} on {owner.host}, at work since {owner.started}, last heard of at {owner.beat}"


def _this_process() -> Owner:
    return Owner(
        host=socket.gethostname(),
        process=os.getpid(),
        born=_born(os.getpid()),
        boot=_first_line("/proc/sys/kernel/random/boot_id") or socket.gethostname(),
        namespace=os.readlink("/proc/self/ns/pid") if os.path.exists("/proc/self/ns/pid") else "",
        started=timestamp(),
        beat=timestamp(),
    )


def _born(process: int) -> int | None:
    line = _first_line(f"/proc/{process}/stat")
    return int(line.rpartition(")")[2].split()[19]) if line else None


def _first_line(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return None
