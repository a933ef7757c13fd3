"""Where a number was measured: versions, device, code. A speed without this cannot be compared with another."""

import hashlib
import json
import logging
import platform
import re
import shutil
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

REPOSITORY = Path(__file__).resolve().parents[1]
SNAPSHOT_FILE = "snapshot.json"
"""Lies beside the packages where they are a sweep's copy (see launch.snapshot): the commit they were copied from."""
PACKAGES = ("torchvision", "timm", "triton")
DECIDES_SPEED = (
    *("device", "cpu", "cpu_max_mhz", "governor", "threads"),
    *("gpu_max_mhz", "gpu_power_limit_w", "driver", "cuda", "cudnn", "torch", "triton"),
)
"""What the fingerprint is made of. How a row was measured (precision, batch size, ...) stands in the row itself; the
commit is left out, since most commits change no kernel and speeds are often compared across them. Of clocks there are
the limits that somebody set: how fast one runs at a moment is noise, which a row's spread shows."""
CPU_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq")


def environment(device: str = "auto") -> dict[str, Any]:
    """Versions, devices and commit, as plain values; None is what does not exist here.

    Imports torch. `fingerprint` is equal for two runs exactly when everything in DECIDES_SPEED is.

    Args:
        device: "cpu", "cuda" (with or without an index), or "auto": the first GPU where there is one.
    """
    import torch

    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    name, dirty = commit()
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,  # with the build's name, which the installed version lacks
        **{package: _version(package) for package in PACKAGES},
        "device": torch.cuda.get_device_name("cuda" if device == "auto" else device) if on_gpu else "cpu",
        "driver": _driver() if on_gpu else None,
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "tf32": torch.backends.cuda.matmul.fp32_precision == "tf32" if on_gpu else None,
        "gpu_max_mhz": None,
        "gpu_power_limit_w": None,
        **(_gpu_limits(device) if on_gpu else {}),
        "cpu": _cpu(),
        "cpu_max_mhz": _cpu_max_mhz(),
        "governor": _cpu_frequency("scaling_governor"),
        "threads": torch.get_num_threads(),
        "hostname": socket.gethostname(),
        "commit": name,
        "dirty": dirty,
    }
    deciding = json.dumps({name: found[name] for name in DECIDES_SPEED})
    return found | {"fingerprint": hashlib.sha256(deciding.encode()).hexdigest()[:12]}


def device_model(device: str) -> dict[str, str | None]:
    """`kind`, cpu or cuda, and `model`, the device's name, of `device` as `environment` takes it. Imports torch."""
    import torch

    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return {"kind": "cpu", "model": _cpu()}
    name = torch.cuda.get_device_name("cuda" if device == "auto" else device) if torch.cuda.is_available() else None
    return {"kind": "cuda", "model": name}


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


def _cpu_frequency(name: str) -> str | None:
    """What the kernel says of the first core's clock; a virtual machine is often not told."""
    file = CPU_FREQUENCY / name
    return file.read_text().strip() if file.exists() else None


def _cpu_max_mhz() -> int | None:
    khz = _cpu_frequency("scaling_max_freq")
    return None if khz is None else round(int(khz) / 1000)


def _gpu_limits(device: str) -> dict[str, float | None]:
    """The highest clock of the cores and the limit of the power, as NVIDIA's tool has them."""
    import torch

    if shutil.which("nvidia-smi") is None:
        return {}
    uuid = torch.cuda.get_device_properties("cuda" if device == "auto" else device).uuid
    command = ["nvidia-smi", "--query-gpu=clocks.max.sm,power.limit", "--format=csv,noheader,nounits"]
    done = subprocess.run([*command, f"--id=GPU-{uuid}"], capture_output=True, text=True)
    if done.returncode != 0:
        log.warning("nvidia-smi does not tell the limits of %s: %s", device, (done.stderr or done.stdout).strip())
        return {}
    values = [float(text) if re.fullmatch(r"[\d.]+", text.strip()) else None for text in done.stdout.split(",")]
    return dict(zip(("gpu_max_mhz", "gpu_power_limit_w"), values, strict=True))


def _driver() -> str | None:
    """Version of NVIDIA's kernel driver."""
    file = Path("/proc/driver/nvidia/version")
    version = re.search(r"\b\d+\.\d+(\.\d+)?\b", file.read_text()) if file.exists() else None
    return version[0] if version else None


def commit() -> tuple[str | None, bool | None]:
    """The commit of this code, and whether files differ from it; None outside of git."""
    snapshot = REPOSITORY / SNAPSHOT_FILE
    if snapshot.exists():
        origin = json.loads(snapshot.read_text(encoding="utf-8"))
        return origin["commit"], origin["dirty"]
    if not (shutil.which("git") and (REPOSITORY / ".git").exists()):
        return None, None
    try:
        return _git("rev-parse", "HEAD").decode().strip(), bool(_git("status", "--porcelain"))
    except subprocess.CalledProcessError as error:  # such as a checkout that belongs to somebody else
        log.warning("the commit is not recorded: %s", error.stderr.decode(errors="replace").strip())
        return None, None


def uncommitted_changes() -> bytes:
    """How tracked files differ from the commit, and the names of those that are not tracked."""
    untracked = _git("ls-files", "--others", "--exclude-standard").decode(errors="replace").splitlines()
    listing = "".join(f"# not tracked: {name}\n" for name in untracked)
    return listing.encode() + _git("diff", "HEAD", "--binary")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(REPOSITORY), *arguments], check=True, capture_output=True).stdout
