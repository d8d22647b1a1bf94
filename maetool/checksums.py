"""A checksum of weights, for formats that hold none: whether a file is as it was written."""

import re
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

_ALGORITHM = "crc32"  # as the records of torch's archives have it; a cryptographic digest takes three times as long
CHECKSUM = "maetool_checksum"  # the name of the fact in the metadata of a file
UNSEALED = f"{_ALGORITHM}:00000000"
_SEAL = re.compile(rf"{CHECKSUM}[^c]{{0,8}}{_ALGORITHM}:([0-9a-f]{{8}})".encode(), re.DOTALL)


def checksum_of(weights: Mapping[str, Tensor], facts: str = "") -> str:
    """Return a checksum of the names, types, shapes and bytes of tensors, and of the facts beside them.

    It tells of accidents, not of people: whoever changes a file can write another checksum.

    Args:
        weights: on the CPU; their order does not matter.
        facts: the text that is stored with them.
    """
    total = zlib.crc32(facts.encode())
    for name in sorted(weights):
        value = weights[name].detach()
        total = zlib.crc32(f"{name} {value.dtype} {tuple(value.shape)}".encode(), total)
        total = zlib.crc32(value.contiguous().reshape(-1).view(torch.uint8).numpy(), total)
    return f"{_ALGORITHM}:{total:08x}"


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


def is_broken(content: bytes) -> bool:
    """Return whether the bytes of a file are others than `sealed` returned; False without a checksum in them."""
    place = _SEAL.search(content)
    if place is None:
        return False
    start, end = place.span(1)
    return zlib.crc32(content[:start] + b"0" * 8 + content[end:]) != int(place[1], 16)
