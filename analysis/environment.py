"""Where a number was measured: versions, device, code. A speed without this cannot be compared with another."""

import hashlib
import json
import platform
import re
import shutil
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("torchvision", "timm", "triton")
DECIDES_SPEED = ("device", "cpu", "threads", "driver", "cuda", "cudnn", "torch", "triton")
"""What the fingerprint is made of. How a row was measured (precision, batch size, ...) stands in the row itself; the
commit is left out, since most commits change no kernel and speeds are often compared across them."""


def environment(device: str = "auto") -> dict[str, Any]:
    """Versions, devices and commit, as plain values; None is what does not exist here.

    Imports torch. `fingerprint` is equal for two runs exactly when everything in DECIDES_SPEED is.

    Args:
        device: "cpu", "cuda" (with or without an index), or "auto": the first GPU where there is one.
    """
    import torch

    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    commit, dirty = _commit()
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,  # with the build's name, which the installed version lacks
        **{package: _version(package) for package in PACKAGES},
        "device": torch.cuda.get_device_name("cuda" if device == "auto" else device) if on_gpu else "cpu",
        "driver": _driver() if on_gpu else None,
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "tf32": torch.backends.cuda.matmul.fp32_precision == "tf32" if on_gpu else None,
        "cpu": _cpu(),
        "threads": torch.get_num_threads(),
        "hostname": socket.gethostname(),
        "commit": commit,
        "dirty": dirty,
    }
    deciding = json.dumps({name: found[name] for name in DECIDES_SPEED})
    return found | {"fingerprint": hashlib.sha256(deciding.encode()).hexdigest()[:12]}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """Name of the processor's model, as the kernel has it."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def _driver() -> str | None:
    """Version of NVIDIA's kernel driver."""
    file = Path("/proc/driver/nvidia/version")
    version = re.search(r"\b\d+\.\d+(\.\d+)?\b", file.read_text()) if file.exists() else None
    return version[0] if version else None


def _commit() -> tuple[str | None, bool | None]:
    """This repository's commit, and whether files differ from it; None outside of git."""
    if not (shutil.which("git") and (REPOSITORY / ".git").exists()):
        return None, None
    return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain"))


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
