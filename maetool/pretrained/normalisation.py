"""Whether a model normalises its images as the encoder that it begins with was trained."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from maetool.config.facts import argument_of
from maetool.registry import MODELS

from .beside import facts_of
from .facts import section_in


def other_normalisation(model: nn.Module, meta: Any, path: Any) -> str:
    """Return a sentence with the options to paste if the images of a checkpoint were normalised otherwise, else "".

    Args:
        model: the model that begins with the checkpoint's encoder.
        meta: metadata of the checkpoint, which may say nothing of the images; those of another project are described
            by the files beside it, or by timm.
        path: the checkpoint's file.
    """
    there = _preprocessor_of(meta, path)
    if there.get("type") != "ImagePreprocessor":
        return ""
    preprocessor, options = getattr(model, "data_preprocessor", None), []
    for name in ("mean", "std"):
        own, trained = getattr(preprocessor, name, None), argument_of(there, MODELS, name)
        if isinstance(own, Tensor) and _differs(own.flatten(), trained):
            options.append(f"model.data_preprocessor.{name}=[{','.join(f'{value:g}' for value in trained)}]")
    if not options:
        return ""
    return (
        f"{path} was trained on images of another mean and deviation than the config normalises with; to normalise as "
        f"its training did: --cfg-options {' '.join(options)}."
    )


def _preprocessor_of(meta: Any, path: Any) -> Mapping[str, Any]:
    """Return the config of a checkpoint's preprocessor; {} if nothing is known of it."""
    section = section_in(meta)
    if section is None:
        known = facts_of(path)
        images: dict[str, Any] = {name: known[name] for name in ("mean", "std") if name in known}
        return {"type": "ImagePreprocessor", **images} if images else {}
    there = section.get("data_preprocessor") or {"type": "ImagePreprocessor"}
    return there if isinstance(there, Mapping) else {}


def _differs(own: Tensor, trained: Any) -> bool:
    if not isinstance(trained, list | tuple) or len(trained) != len(own):
        return False
    if not all(isinstance(value, int | float) for value in trained):
        return False
    return not torch.allclose(own, torch.tensor(trained, dtype=own.dtype, device=own.device), rtol=0.02, atol=0.5)
