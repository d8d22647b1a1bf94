"""Configs of encoders by a name of timm, `timm:NAME`: what its pretrained weights were trained with."""

import difflib
from typing import Any

from mmengine import Config

from maetool.errors import UsageError
from maetool.weights.addresses import facts_of_timm, timm_name


def config_of_timm(source: str) -> Config:
    """Return a config with the `TimmEncoder` of a model of timm, and the statistics of its images.

    Args:
        source: `timm:NAME`; of a name with several sets of weights, what stands after the dot picks one.

    Raises:
        UsageError: timm has no such model.
    """
    import timm  # some seconds, which other configs need not wait for
    import torch
    from torch import nn

    name = timm_name(source) or ""
    base = name.partition(".")[0]
    if not timm.is_model(base):
        near = difflib.get_close_matches(base, timm.list_models(), n=3)
        raise UsageError(f"timm has no model called {base!r}; near names: {', '.join(near) or 'none'}.")
    facts = facts_of_timm(name)
    if facts is None:
        raise UsageError(f"timm has no weights called {name}: leave out what stands after the dot, or correct it.")
    with torch.device("meta"):
        model = timm.create_model(base, num_classes=0)
    # Models that normalise the mean of their tokens have no norm after the last block.
    final_norm = not isinstance(getattr(model, "norm", None), nn.Identity)
    # Patches of 14 pixels cover 378 of 384.
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", (1, 1))
    size = tuple(side // step * step for side, step in zip(facts.input_size[1:], patch, strict=True))
    encoder: dict[str, Any] = {"type": "TimmEncoder", "name": base, "img_size": size}
    encoder |= {} if final_norm else {"final_norm": False}
    images = {name: [255 * value for value in getattr(facts, name)] for name in ("mean", "std")}
    section = {"encoder": encoder, "data_preprocessor": {"type": "ImagePreprocessor", **images}}
    return Config({"model": section, "work_dir": f"work_dirs/{base}"})
