"""`load_encoder`: an encoder in one line, for a notebook."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine import Config, ConfigDict

from maetool.config.complete import move_preprocessor
from maetool.config.load import load_config, takes, with_names
from maetool.config.paths import names_config
from maetool.errors import UsageError
from maetool.registry import ENCODERS, MODELS
from maetool.weights.read import read_checkpoint, weights_of

from .facts import requested_grid
from .frozen import FrozenEncoder, build_frozen, section_of

_PARTS = ("encoder", "data_preprocessor")


def load_encoder(
    source: str | Path | Config,
    config: str | Path | None = None,
    num_heads: int | None = None,
    img_size: int | Sequence[int] | None = None,
    patch_size: int | Sequence[int] | None = None,
    in_chans: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> FrozenEncoder:
    """Return an encoder that gives tokens (B, T + L, D) of normalised images (B, C, H, W), and tell what was loaded.

    It is in evaluation mode and without gradients; `.encoder` is the encoder alone, `.normalise(images)` prepares
    images of 0 to 255. A sentence says what was loaded, resized, missing and unused.

    Args:
        source: a checkpoint of any format of `maetool.weights.formats.table`, a folder of Hugging Face, or a config's
            path or name, whose encoder has random weights.
        config: says what the encoder is, where the checkpoint does not.
        num_heads: attention heads, where the checkpoint does not say it and the width is an unusual one.
        img_size: another size of image, to which the positions are resized; the tokens are those that the encoder of
            the file gives images of that size. Where nothing says the grid of the file's positions, the one of this
            size if their number fits.
        patch_size: other patches; the kernel is resized (`maetool.ops.kernel.resize_kernel`).
        in_chans: other channels; the kernel is adapted (`maetool.ops.kernel.adapt_channels`).
        mean: of each channel, where the checkpoint says others; in the units of the stored values.
        std: the same for the standard deviations.

    Raises:
        UsageError: a file that cannot be read, of nothing recognisable, or of another encoder than the config's.
    """
    path, cfg = _path_and_config(source, config)
    section, stored = cfg.model if cfg is not None else None, None
    if section is None:
        section, stored = _described(path, num_heads, img_size, patch_size)
    section = ConfigDict({name: deepcopy(section[name]) for name in _PARTS if name in section})
    wanted = {"num_heads": num_heads, "img_size": img_size, "patch_size": patch_size, "in_chans": in_chans}
    section.encoder.update({name: value for name, value in wanted.items() if value is not None})
    section.setdefault("data_preprocessor", {"type": "ImagePreprocessor"})
    _normalise_with(section.data_preprocessor, {"mean": mean, "std": std})
    asked = {"channels": in_chans, "patch_size": patch_size}
    return build_frozen(section, path, [name for name, value in asked.items() if value is not None], stored)


def _path_and_config(source: str | Path | Config, config: str | Path | None) -> tuple[str | Path | None, Config | None]:
    cfg = load_config(config) if config is not None else None
    if isinstance(source, Mapping | Config):
        cfg = with_names(Config(dict(source)) if isinstance(source, Mapping) else source)
        move_preprocessor(cfg)
    elif names_config(source):
        cfg = load_config(source)
    else:
        return source, cfg
    if "encoder" not in cfg.get("model", {}):
        raise UsageError(
            "The config has no model.encoder: pass the config of a model, such as maetool::mae/vit-b_800e.py."
        )
    return cfg.get("init_from") or None, cfg


def _described(
    path: str | Path, num_heads: int | None, img_size: Any, patch_size: Any
) -> tuple[ConfigDict, dict[str, Any]]:
    """Return what a checkpoint says of its encoder, and all that it holds."""
    state = read_checkpoint(path)
    weights = weights_of(state, path)
    section = section_of(state, weights, path, num_heads, requested_grid(weights, img_size, patch_size))
    if "encoder.norm.weight" not in weights and takes(section.encoder, ENCODERS, "final_norm"):
        section.encoder.final_norm = False  # a classifier with a norm of its own, after pooling, has none here
    return section, state


def _normalise_with(preprocessor: Any, wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if value is not None and takes(preprocessor, MODELS, name):
            preprocessor[name] = list(value)
