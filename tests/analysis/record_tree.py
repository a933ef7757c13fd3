"""Records as launch writes them, of runs that never happened: every number here is made up."""

import hashlib
import json
from pathlib import Path
from typing import Any

from analysis.record import write_record

ENVIRONMENT = {
    "python": "3.11.2",
    "torch": "2.15.0",
    "timm": "1.0.31",
    "device": "cpu",
    "cpu": "AMD EPYC 7B13",
    "threads": 2,
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "fingerprint": "aaaa1111",
}
DIGITS = {
    "name": "digits",
    "source": "digits",
    "root": None,
    "num_classes": 10,
    "resolution": 32,
    "crop_pct": 1.0,
    "mean": [0.305, 0.305, 0.305],
    "workers": 0,
}
IMAGENET = DIGITS | {"name": "imagenet", "source": "imagenet", "num_classes": 1000, "resolution": 224, "root": "/data"}
SHORT = {"name": "short", "epochs": 3, "batch_size": 64, "learning_rate": 2e-3}


# As it was recorded before there were rules of the budget; RULED is as it is now.
UNIFIED = {"name": "unified", "options": {"layer_scale_init": None}, "mixers": None, "budget": "params"}
RULED = UNIFIED | {"budget": None, "dims": None, "depths": None}


def cell_record(task: str, mixer_name: str | None, **changes: Any) -> dict[str, Any]:
    """A completed record; keys of its config (scale, seed, data, ...) and of the record itself may be changed."""
    config = {
        "network": UNIFIED,
        "mixer": {"name": mixer_name, "num_heads": None} if mixer_name else None,
        "mixer_source": None,
        "scale": "micro",
        "data": DIGITS,
        "recipe": SHORT,
        "task": {"name": task},
        "seed": 0,
        "precision": "fp32",
        "weights": None,
        "device": "auto",
        "platform": {"name": "here"},
        "output": "runs",
        "sweep": changes.get("sweep", "digits"),
    }
    if task == "complexity":
        config["task"]["rule"] = "macs"
    config |= {key: changes.pop(key) for key in tuple(changes) if key in config and key != "sweep"}
    record = {
        "schema": 1,
        "cell": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12],
        "name": f"{mixer_name or config['network']['name']}-{config['scale']}-{task}-seed{config['seed']}",
        "sweep": "digits",
        "task": task,
        "status": "completed",
        "reason": None,
        "traceback": None,
        "code": None,
        "config": config,
        "results": {},
        "rows": [],
        "details": {},
        "environment": ENVIRONMENT,
        "started": "2026-11-20T10:00:00+00:00",
        "finished": "2026-11-20T10:01:00+00:00",
        "seconds": 60.0,
    }
    unknown = set(changes) - set(record)
    assert not unknown, unknown
    return record | changes


def train_record(
    mixer_name: str | None, top1: float, params: int = 4_000_000, macs: int = 16_000_000, **changes: Any
) -> dict:
    results = {
        "params": params,
        "macs": macs,
        "activations": 500_000,
        "top1_percent": top1,
        "top5_percent": 99.5,
        "best_top1_percent": top1 + 0.1,
        "train_images_per_second": 250.0,
    }
    return cell_record("train", mixer_name, **{"results": results} | changes)


def speed_row(mode: str = "inference", images_per_second: float = 400.0, **changes: Any) -> dict[str, Any]:
    row = {
        "mode": mode,
        "compiled": False,
        "precision": "fp32",
        "batch_size": 8,
        "resolution": 32,
        "memory_format": "channels_last",
        "status": "completed",
        "latency_ms": 8000.0 / images_per_second,
        "latency_iqr_ms": 0.5,
        "images_per_second": images_per_second,
        "peak_memory_mib": 120.5,
    }
    return row | changes


def failed(record: dict[str, Any], reason: str, status: str = "failed") -> dict[str, Any]:
    return record | {"status": status, "reason": reason, "traceback": "Traceback ...", "results": {}, "rows": []}


def write_cell(root: Path, record: dict[str, Any], curve: list[float] | None = None) -> Path:
    """Write `record` where launch would, with one line of metrics for each top-1 of `curve`."""
    path = root / record["sweep"] / f"{record['name']}-{record['cell']}" / "record.json"
    write_record(path, record)
    if curve:
        lines = [
            {"epoch": epoch, "train_loss": 2.3 / epoch, "validation_loss": 2.2 / epoch, "top1_percent": top1}
            for epoch, top1 in enumerate(curve, start=1)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        path.with_name("metrics.jsonl").write_text(text, encoding="utf-8")
    return path
