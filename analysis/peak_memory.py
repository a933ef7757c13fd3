"""The most memory that was in use at once: of the GPU's allocator, or of this process."""

import ctypes
import gc
import re
import sys
from pathlib import Path

import torch

MIB = 2**20
STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


class PeakMemory:
    """Measures from its creation on: what was in use before does not count, weights made afterwards do.

    On a GPU: bytes that tensors held, without what the allocator keeps in reserve. On the CPU of a Linux machine:
    resident memory, so also torch's own work space and, in a compiled run, what the compiler left behind.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # Garbage of an earlier measurement would be found and reused by this one.
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            self.before = torch.cuda.memory_allocated(device)
        elif sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
            self.before = _resident("VmRSS")
        else:
            self.before = 0

    def reset_peak(self) -> None:
        """Forgets peaks until now; what is still in use keeps counting."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        elif RESET.exists():
            RESET.write_text("5")

    def peak_mib(self) -> float | None:
        """MiB in use at the peak; None on a CPU whose system does not tell."""
        if self.device.type == "cuda":
            return (torch.cuda.max_memory_allocated(self.device) - self.before) / MIB
        return (_resident("VmHWM") - self.before) / MIB if RESET.exists() else None


def _resident(field: str) -> int:
    """Bytes of resident memory now (VmRSS) or at the peak (VmHWM)."""
    found = re.search(rf"^{field}:\s*(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no {field}")
    return int(found[1]) * 1024
