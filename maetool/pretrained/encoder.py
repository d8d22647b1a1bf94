"""`load_encoder`: loads an encoder in one line."""

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
from maetool.weights.pick import pick
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
    key: str | None = None,
    prefix: str | None = None,
) -> FrozenEncoder:
    """Load an encoder that turns normalised images (B, C, H, W) into tokens (B, T + L, D).

    It is in evaluation mode and without gradients; `.encoder` is the encoder alone, `.normalise(images)` prepares
    images of 0 to 255. What was loaded, resized, missing and unused is logged in one sentence.

    Args:
        source: a checkpoint of any format of `maetool.weights.formats.table`, a folder of Hugging Face, or a config's
            path or name, whose encoder has random weights.
        config: a config of the encoder; None if the checkpoint describes it.
        num_heads: attention heads, if the checkpoint does not describe them and the width is unusual.
        img_size: another image size, to which the positions are resized. If the file does not give the grid of its
            positions, the grid of this size is assumed if their number fits.
        patch_size: another patch size; the kernel is resized (`maetool.ops.kernel.resize_kernel`).
        in_chans: another number of channels; the kernel is adapted (`maetool.ops.kernel.adapt_channels`).
        mean: means of the channels, instead of the checkpoint's; in the units of the stored values.
        std: standard deviations of the channels, likewise.
        key: keys that lead to the weights in a checkpoint of several models, such as "teacher" or "model_ema".
        prefix: what the names of the weights begin with there, such as "student.backbone."

    Raises:
        UsageError: a file that cannot be read, has no known format, or holds an encoder other than the config's.
    """
    path, cfg = _path_and_config(source, config)
    state = None if path is None else pick(read_checkpoint(path), path, key, prefix)
    if cfg is None:
        assert path is not None and state is not None, "there is a checkpoint or a config"
        section = _described(state, path, num_heads, img_size, patch_size)
    else:
        section = cfg.model
    section = ConfigDict({name: deepcopy(section[name]) for name in _PARTS if name in section})
    arguments = {"num_heads": num_heads, "img_size": img_size, "patch_size": patch_size, "in_chans": in_chans}
    section.encoder.update({name: value for name, value in arguments.items() if value is not None})
    section.setdefault("data_preprocessor", {"type": "ImagePreprocessor"})
    _normalise_with(section.data_preprocessor, {"mean": mean, "std": std})
    asked = {"channels": in_chans, "patch_size": patch_size}
    adapt = [name for name, value in asked.items() if value is not None]
    return build_frozen(section, path, adapt, state, is_stored=cfg is None)


def _path_and_config(source: str | Path | Config, config: str | Path | None) -> tuple[str | Path | None, Config | None]:
    """Return the checkpoint and the config; the former may be None if there is a config."""
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
    state: Mapping[str, Any], path: str | Path, num_heads: int | None, img_size: Any, patch_size: Any
) -> ConfigDict:
    """Return the encoder's description in a checkpoint."""
    weights = weights_of(state, path)
    section = section_of(state, weights, path, num_heads, requested_grid(weights, img_size, patch_size))
    if "encoder.norm.weight" not in weights and takes(section.encoder, ENCODERS, "final_norm"):
        section.encoder.final_norm = False  # a classifier that normalises after pooling has no norm here
    return section


def _normalise_with(preprocessor: Any, statistics: Mapping[str, Any]) -> None:
    for name, value in statistics.items():
        if value is not None and takes(preprocessor, MODELS, name):
            preprocessor[name] = list(value)
