"""An encoder out of a checkpoint, for features; nothing is masked and nothing is trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine import Config
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.evaluation import Features, token_features
from maetool.models.pooling import FirstToken, PatchMean
from maetool.registry import ENCODERS, MODELS

from .checkpoint import load_weights, read_checkpoint, weights_of
from .config import takes
from .config_text import read_section
from .export import encoder_of
from .initial import load_initial


class FrozenEncoder(nn.Module):
    """An encoder with the preprocessing it was trained with, in evaluation mode and without gradients.

    Args:
        encoder: module that gives tokens (B, T + L, D) of images.
        data_preprocessor: see `maetool.data.ImagePreprocessor`.
    """

    def __init__(self, encoder: nn.Module, data_preprocessor: nn.Module) -> None:
        super().__init__()
        self.encoder, self.data_preprocessor = encoder, data_preprocessor
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor, mode: str = "tensor") -> Tensor:
        """Return the tokens (B, T + L, D) of whole images (B, C, H, W), normalised."""
        return self.encoder(images)  # (B, T + L, D)


def load_frozen(path: str | Path, cfg: Config | None = None, trained: bool = True) -> nn.Module:
    """Return the model of a checkpoint that gives features: a classifier with its pooling, else the encoder alone.

    Args:
        path: a checkpoint of ours, of pretraining, of a classifier or of an exported encoder; or with `cfg` one of
            facebookresearch/mae or timm.
        cfg: says what the encoder is; by default the checkpoint does.
        trained: False gives the same encoder as it is before training, to compare with.

    Raises:
        UsageError: a file that cannot be read, has no encoder, does not say what it is, or is another encoder than that
            of `cfg`.
    """
    state = read_checkpoint(path)
    exported = encoder_of(state, str(path))
    section = cfg.model if cfg is not None else _section(exported["meta"], path)
    if trained and takes(section, MODELS, "num_classes") and "head.weight" in weights_of(state, path):
        model = MODELS.build(section)
        load_weights(model, weights_of(state, path), path)
        return model.requires_grad_(False).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ENCODERS.build(section.encoder)
    preprocessor = section.get("data_preprocessor") or {"type": "ImagePreprocessor"}
    model = FrozenEncoder(encoder, MODELS.build(preprocessor, default_args={"in_chans": encoder.in_chans}))
    if trained:
        load_initial(model, path)
    return model


def _section(meta: Mapping[str, Any], path: str | Path) -> Any:
    section = read_section(meta.get("cfg", ""), "model")
    if not section:
        raise UsageError(
            f"{path} does not say what its encoder is: pass a config that does, for example --config "
            "configs/mae/vit-b_800e.py."
        )
    for part in (section, section.encoder, section.get("data_preprocessor") or {}):
        if "." in part.get("type", ""):  # would import, and so run, whatever a stranger wrote there
            raise UsageError(
                f"{path} names {part['type']}, which is not registered: pass a config that you trust with --config."
            )
    return section


def features_of(model: nn.Module, pool: str | None = None) -> Features:
    """Return the function of (model, images) that gives one array for each image.

    Args:
        model: what `load_frozen` returned.
        pool: "mean" of the patch tokens (D,), "cls", the first token (D,), or "tokens", those of the patches (L, D);
            by default a classifier's own pooling, and "mean" of other models.

    Raises:
        UsageError: another name, or "cls" of an encoder without such a token.
    """
    if pool is None:
        return token_features
    prefix = model.encoder.num_prefix_tokens
    choices = {"mean": PatchMean, "cls": FirstToken, "tokens": lambda prefix: lambda tokens: tokens[:, prefix:]}
    if pool not in choices:
        raise UsageError(f'pool is {pool!r}, but must be "mean", "cls" or "tokens".')
    pooled = choices[pool](prefix)
    return lambda model, images: pooled(model.encoder(images)).float()
