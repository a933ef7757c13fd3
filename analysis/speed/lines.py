"""What is being timed, and what came of it, in one line for the terminal."""

from collections.abc import Mapping
from typing import Any

from ..display_speed import latency_text, speedup_text


def headline(row: Mapping[str, Any], name_it: bool = True) -> str:
    """E.g. `halo, inference eager fp32 batch 8 at 224×224`."""
    columns = row["columns"] or row["resolution"]
    dim = "" if row["dim"] is None else f"×{row['dim']}"
    return (
        f"{row['candidate'] + ', ' if name_it else ''}{row['mode']} {'compiled' if row['compiled'] else 'eager'} "
        f"{row['precision']} batch {row['batch_size']} at {row['resolution']}×{columns}{dim}"
    )


def line(row: Mapping[str, Any]) -> str:
    """The headline and the result of a row of `measure`."""
    if row["status"] != "completed":
        return f"{headline(row)}: {row['reason']}"
    parts = [
        f"{row['images_per_second']:.1f} images/s",
        f"{latency_text(row)} ms",
    ]
    if row["peak_memory_mib"] is not None:
        parts.append(f"{row['peak_memory_mib']:.0f} MiB")
    if row["speedup"] is not None:
        parts.append(speedup_text(row))
    return f"{headline(row)}: {', '.join(parts)}"
