"""The idx files of MNIST and its relatives: two zero bytes, element type, number of dimensions, sizes, elements."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> Tensor:
    """A uint8 tensor from an idx file, gzip-compressed if the name ends in `.gz`.

    Raises:
        ValueError: the file is truncated, damaged or of another format; named.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged: {error}") from error
    if len(content) < 4 or content[:3] != bytes((0, 0, UNSIGNED_BYTE)):
        raise ValueError(f"{path} is not an idx file of unsigned bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"{path} is truncated: its header is incomplete")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise ValueError(f"{path} holds {len(content) - start} elements, its header promises {math.prod(shape)}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)
