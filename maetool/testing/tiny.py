"""Small models and batches for tests."""

from typing import Any

import torch
from torch import Tensor

from maetool.models import MaskedImageModel
from maetool.ops.random import sample_keys
from maetool.registry import MODELS


def tiny_config(**parts: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a masked autoencoder that runs in milliseconds; `parts` change or replace its parts.

    The image is a rectangle of 16 x 32 pixels with patches of 8 x 4, so that nothing can rely on squares.
    """
    config = {
        "type": "MaskedImageModel",
        "data_preprocessor": {"type": "ImagePreprocessor"},
        "masker": {"type": "RandomMasker"},
        "encoder": {
            "type": "VisionTransformer",
            "img_size": (16, 32),
            "patch_size": (8, 4),
            "embed_dim": 24,
            "depth": 2,
            "num_heads": 3,
        },
        "decoder": {"type": "TransformerDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2},
        "target": {"type": "PixelTarget"},
        "head": {"type": "RegressionHead"},
    }
    for name, part in parts.items():
        config[name] = part if "type" in part else {**config.get(name, {}), **part}
    return config


def tiny_model(**parts: dict[str, Any]) -> MaskedImageModel:
    """Return the model of `tiny_config`, always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODELS.build(tiny_config(**parts))


def tiny_batch(batch_size: int = 4, in_chans: int = 3, size: tuple[int, int] = (16, 32)) -> dict[str, Tensor]:
    """Return a batch as the loader gives it: `inputs` of noise, uint8 (B, C, H, W), and `key`, int64 (B,).

    Args:
        batch_size: B.
        in_chans: C.
        size: (H, W).
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (batch_size, in_chans, *size), dtype=torch.uint8, generator=generator)
    return {"inputs": inputs, "key": sample_keys(0, 0, torch.arange(batch_size))}
