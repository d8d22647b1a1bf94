"""The only file that asks which version or ability of a dependency this is."""

import os
from functools import cache

import torch


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU computes bfloat16 with instructions of its own, so that it is worth using."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public question in torch yet
    return bool(supported and supported())


def usable_cores() -> int:
    """Return how many cores this process may use; a container may allow fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@cache
def cpu_resizes_uint8() -> bool:
    """Return whether torch's antialiased resize of uint8 is vectorised here; without AVX2 Pillow is faster."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
