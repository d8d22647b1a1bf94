"""A checksum of weights, for formats that hold none: whether a file is as it was written."""

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

_ALGORITHM = "crc32"  # as the records of torch's archives have it; a cryptographic digest takes three times as long


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
