"""Checksums of weights, for formats that have none."""

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Words of 8 bytes per row. The number is prime, so that swapped sectors and pages fall into other columns, and two
# damaged bits rarely into the same one.
_ROW = 509
CHECKSUM = "maetool_checksum"  # key in the metadata of a file
UNSEALED = "crc32:00000000"
_SEAL = re.compile(rf"{CHECKSUM}[^c]{{0,8}}crc32:([0-9a-f]{{8}})".encode(), re.DOTALL)


def checksum_of(weights: Mapping[str, Tensor], facts: str = "") -> str:
    """Return a checksum of the names, types, shapes and bytes of tensors, and of the metadata stored with them.

    BLAKE2 of everything would take longer than reading. Large tensors therefore enter by the parity of each bit over
    rows of 509 words, which detects every change except an even number of flips in one column. It detects accidents,
    not manipulation: whoever changes a file can write a new checksum.

    Args:
        weights: tensors on the CPU, in any order.
        facts: the metadata as text.
    """
    digest = hashlib.blake2b(facts.encode(), digest_size=16)
    for name in sorted(weights):
        value = weights[name].detach()
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)} ".encode())
        data = value.contiguous().reshape(-1).view(torch.uint8).numpy()
        rows = len(data) // (8 * _ROW)
        if rows > 1:
            digest.update(np.bitwise_xor.reduce(data[: rows * 8 * _ROW].view(np.uint64).reshape(rows, _ROW), axis=0))
            data = data[rows * 8 * _ROW :]
        digest.update(data.data)
    return f"parity509-blake2b:{digest.hexdigest()}"


def differs(stored: str | None, weights: Mapping[str, Tensor], facts: str = "") -> bool:
    """Return whether weights or metadata differ from a stored checksum; False without a checksum.

    Args:
        stored: the checksum in the file; None if it has none.
        weights: by name.
        facts: the metadata, as the text that was stored.
    """
    return stored is not None and stored != checksum_of(weights, facts)


def sealed(content: bytes) -> bytes:
    """Return the bytes of a file, `content`, with `UNSEALED` in its metadata replaced by their checksum.

    Raises:
        ValueError: the metadata does not contain `CHECKSUM: UNSEALED` exactly once.
    """
    places = list(_SEAL.finditer(content))
    if len(places) != 1 or int(places[0][1], 16):
        raise ValueError("There is no place for the checksum.")
    start, end = places[0].span(1)
    return content[:start] + f"{zlib.crc32(content):08x}".encode() + content[end:]


def sealed_json(content: Mapping[str, Any]) -> bytes:
    """Return content as JSON text with a checksum in it, which `is_broken` checks."""
    return sealed(json.dumps({**content, CHECKSUM: UNSEALED}, indent=2).encode() + b"\n")


def is_broken(content: bytes) -> bool:
    """Return whether the bytes of a file, `content`, do not match their checksum; False without a checksum."""
    place = _SEAL.search(content)
    if place is None:
        return False
    start, end = place.span(1)
    return zlib.crc32(content[:start] + b"0" * 8 + content[end:]) != int(place[1], 16)
