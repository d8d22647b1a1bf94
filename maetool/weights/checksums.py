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

# A row of so many words of 8 bytes. The number is prime, so that sectors and pages that change places come into other
# columns, and two damaged bits rarely into the same one.
_ROW = 509
CHECKSUM = "maetool_checksum"  # the name of the fact in the metadata of a file
UNSEALED = "crc32:00000000"
_SEAL = re.compile(rf"{CHECKSUM}[^c]{{0,8}}crc32:([0-9a-f]{{8}})".encode(), re.DOTALL)


def checksum_of(weights: Mapping[str, Tensor], facts: str = "") -> str:
    """Return a checksum of the names, types, shapes and bytes of tensors, and of the facts beside them.

    BLAKE2 of all of it would take longer than reading does. Large tensors therefore enter with the parity of each bit
    over rows of 509 words: one changed bit, and any that are not changed an even number of times in one column, are
    noticed. It tells of accidents, not of people: whoever changes a file can write another checksum.

    Args:
        weights: on the CPU; their order does not matter.
        facts: the text that is stored with them.
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
    """Return whether weights or facts are others than those that a checksum was made of; False without a checksum."""
    return stored is not None and stored != checksum_of(weights, facts)


def sealed(content: bytes) -> bytes:
    """Return the bytes of a file, whose metadata says `CHECKSUM: UNSEALED`, with their checksum in its place.

    Raises:
        ValueError: they do not say that, or not once.
    """
    places = list(_SEAL.finditer(content))
    if len(places) != 1 or int(places[0][1], 16):
        raise ValueError("There is no place for the checksum.")
    start, end = places[0].span(1)
    return content[:start] + f"{zlib.crc32(content):08x}".encode() + content[end:]


def sealed_json(content: Mapping[str, Any]) -> bytes:
    """Return JSON with a checksum of its text beside what it holds; `is_broken` compares it."""
    return sealed(json.dumps({**content, CHECKSUM: UNSEALED}, indent=2).encode() + b"\n")


def is_broken(content: bytes) -> bool:
    """Return whether the bytes of a file are others than `sealed` returned; False without a checksum in them."""
    place = _SEAL.search(content)
    if place is None:
        return False
    start, end = place.span(1)
    return zlib.crc32(content[:start] + b"0" * 8 + content[end:]) != int(place[1], 16)
