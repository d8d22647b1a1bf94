"""The only file that asks which version or ability of a dependency this is."""

import torch


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU computes bfloat16 with instructions of its own, so that it is worth using."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public question in torch yet
    return bool(supported and supported())
