"""Loads a frozen encoder for feature extraction."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine import Config, ConfigDict
from torch import Tensor

from maetool.config.earlier import as_trained, check_as_trained
from maetool.config.facts import task_in
from maetool.config.trust import build_trusted, check_stored, trusted
from maetool.errors import UsageError
from maetool.evaluation import Features, token_features
from maetool.messages import print_log
from maetool.models.pairing import channels_of
from maetool.models.pooling import FirstToken, PatchMean
from maetool.ops.geometry import format_size
from maetool.ops.prefix import has_class_token
from maetool.parallel.loading import load_weights
from maetool.protocols import EncoderLike, ModelLike, PreprocessorLike
from maetool.registry import ENCODERS, MODELS, Registry
from maetool.weights.formats.architecture import describe_encoder, is_gated
from maetool.weights.formats.swin import shifts_otherwise
from maetool.weights.formats.transformers_clip import describe_tower
from maetool.weights.read import read_checkpoint, weights_of
from maetool.weights.unwrap import say

from .as_built import timm_section
from .beside import check_functions, facts_of
from .facts import recorded_grid, section_in
from .initial import load_initial
from .model import encoder_shape
from .reading import reading_in

_TOWERS = ("clip", "siglip")  # models of transformers
_POOLED = ("classification", "regression")  # tasks of models that pool the tokens of an encoder in their own way


class FrozenEncoder(ModelLike):
    """An encoder with its preprocessing from training, in evaluation mode and without gradients.

    Args:
        encoder: module from images to tokens (B, T + L, D).
        data_preprocessor: see `maetool.data.ImagePreprocessor`.
        section: the config of both.
        reading: how its training read files, see `maetool.pretrained.reading.reading_in`.
    """

    def __init__(
        self,
        encoder: EncoderLike,
        data_preprocessor: PreprocessorLike,
        section: Mapping[str, Any],
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.reading = dict(reading or {})
        self.encoder, self.data_preprocessor, self.section = encoder, data_preprocessor, section
        self.requires_grad_(False).eval()

    def forward(self, images: Any, mode: str = "tensor") -> Tensor:
        """Return the tokens (B, T + L, D) of unmasked images.

        Args:
            images: (B, C, *size), normalised; or ids or streams, where the encoder takes those.
            mode: not read; MMEngine's models have one.
        """
        return self.encoder(images)  # (B, T + L, D)

    def features(
        self, files: Sequence[str | Path], pool: str | None = None, reading: Mapping[str, Any] | None = None
    ) -> Tensor:
        """Return the features of image files, float32 (N, D) or (N, L, D), see `features_of_files`.

        Args:
            files: paths of images of any size, which are resized and cropped as in validation.
            pool: see `features_of`.
            reading: `exif`, `eight_bit` and `nodata` of `maetool.data.ImageFolderDataset`, instead of the training's.

        Raises:
            UsageError: what `features_of_files` raises.
        """
        from .extract import features_of_files  # which needs what this module defines

        return features_of_files(self, files, pool, reading=reading)

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """C and the sides of the encoder's images, such as (3, 224, 224); None if it reads something else."""
        return encoder_shape(self.encoder)

    def normalise(self, images: Any) -> Any:
        """Normalise images (B, C, *size), or each of a mapping, of stored values, 0 to 255 for photographs."""
        return self.data_preprocessor({"inputs": images})["images"]


def load_frozen(path: str | Path, cfg: Config | None = None, trained: bool = True) -> ModelLike:
    """Load a model for feature extraction: a classifier or regressor with its pooling, else the encoder alone.

    Args:
        path: a checkpoint of pretraining, of a classifier or of an exported encoder, of maetool or of another project.
        cfg: a config of the encoder; by default the checkpoint describes it.
        trained: False returns the same encoder with random weights, to compare with.

    Raises:
        UsageError: a file that cannot be read, has no encoder, does not describe it, or has an encoder other than that
            of `cfg`.
    """
    state = read_checkpoint(path)
    weights = weights_of(state, path)
    section = cfg.model if cfg is not None else section_of(state, weights, path)
    pooled = "type" in section and task_in(section) in _POOLED and "head.weight" in weights
    if trained and pooled:
        model = MODELS.build(section) if cfg is not None else build_trusted(section, MODELS, weights, path)
        check_as_trained(model, state.get("meta"), path)
        load_weights(model, weights, path)
        return model.requires_grad_(False).eval()
    return build_frozen(section, path if trained else None, state=state, is_stored=cfg is None)


def build_frozen(
    section: Mapping[str, Any],
    path: str | Path | None = None,
    adapt: Collection[str] = (),
    state: Mapping[str, Any] | None = None,
    is_stored: bool = False,
) -> FrozenEncoder:
    """Build the encoder of a config section, load the weights of a checkpoint, and log what was loaded.

    Args:
        section: `encoder` and `data_preprocessor`.
        path: the checkpoint; None leaves the weights random, the same at every call.
        adapt: see `load_initial`.
        state: the content of the checkpoint; None reads it.
        is_stored: whether the section is from the checkpoint, which is not trusted, and not from the user's config.
    """
    build: Callable[..., Any] = Registry.build
    if is_stored and state is not None:
        source = path or "The checkpoint"
        weights = weights_of(state, source)
        build = lambda registry, part, **facts: build_trusted(part, registry, weights, source, **facts)  # noqa: E731
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build(ENCODERS, section["encoder"])
    preprocessor = section.get("data_preprocessor") or {"type": "ImagePreprocessor"}
    preprocessor = build(MODELS, preprocessor, default_args=channels_of(encoder))
    model = FrozenEncoder(encoder, preprocessor, section, reading_in((state or {}).get("meta")))
    if path is not None:
        report = load_initial(model, path, adapt=adapt, state=state)
        print_log(f"{path}: {report}")
    return model


def section_of(
    state: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    path: str | Path,
    num_heads: int | None = None,
    requested: Sequence[int] | None = None,
) -> ConfigDict:
    """Return the model section of a checkpoint, with `encoder` and `data_preprocessor`.

    For a checkpoint of another project it is inferred from the weights and from Hugging Face's files beside it.

    Args:
        state: the result of `read_checkpoint`.
        weights: the result of `weights_of`.
        path: the file.
        num_heads: number of attention heads, if the checkpoint does not determine it.
        requested: the grid of patches to use, which is assumed for the file's positions if the checkpoint has no other
            information and their number fits.

    Raises:
        UsageError: the encoder is unknown or its class is not registered, the section names a file or an address, or
            the checkpoint has another number of heads than `num_heads`, with which its weights mean nothing.
    """
    section = section_in(state.get("meta"))
    if section is None:
        beside, grid = facts_of(path), recorded_grid(state, weights, path)
        encoder = _encoder_of(weights, path, beside, num_heads, grid, requested)
        images = {name: beside[name] for name in ("mean", "std") if name in beside}
        description: dict[str, Any] = {"encoder": encoder}
        description["data_preprocessor"] = {"type": "ImagePreprocessor", **images}
        section = ConfigDict(description)
    section = as_trained(trusted(section, path), state.get("meta"))
    for name, registry in (("encoder", ENCODERS), ("data_preprocessor", MODELS)):
        if section.get(name):
            check_stored(section[name], registry, path)
    recorded = section.encoder.get("num_heads")
    if None not in (num_heads, recorded) and recorded != num_heads:
        raise UsageError(f"num_heads is {num_heads}, but {path} records {recorded} attention heads: leave it out.")
    return section


def _encoder_of(
    weights: Mapping[str, Tensor],
    path: str | Path,
    beside: Mapping[str, Any],
    num_heads: int | None,
    grid: Sequence[int] | None,
    requested: Sequence[int] | None,
) -> dict[str, Any]:
    """Return the config of an encoder: the one that its weights describe, if timm's file does not name another."""
    model = beside.get("timm") or {}
    named = timm_section(model, beside.get("img_size"), weights, path) if isinstance(model.get("name"), str) else None
    if named is not None:
        encoder, plain_heads = named
        encoder["final_norm"] = "encoder.norm.weight" in weights
        if plain_heads is None:
            return encoder
        num_heads = num_heads or plain_heads
    heads = num_heads or beside.get("num_heads")
    if str(beside.get("model")).startswith(_TOWERS) and "encoder.pos_embed" in weights:
        check_functions({"epsilon": beside.get("epsilon")}, Path(path))
        return describe_tower(weights, str(path), beside.get("activation"), requested or grid, heads)
    check_functions(beside, Path(path), is_gated(weights))
    try:
        described = describe_encoder(weights, str(path), heads, grid, requested)
    except UsageError:
        if named is None:
            raise
        return encoder
    if named is None and "activation" not in beside and described["type"] == "VisionTransformer":
        say(
            f"{path} does not record what weights do not show: taken as usual are {described['num_heads']} heads, the "
            "exact GELU and an epsilon of 1e-6. If timm has it under a name, add --config timm:NAME."
        )
    if beside.get("model") == "swin" and requested is None and shifts_otherwise(described):
        raise UsageError(
            f"{path} holds a Swin for images of {format_size(described['img_size'])}, where a stage is longer than a "
            "window along one axis only, which transformers shifts otherwise: pass the img_size to use it with."
        )
    if str(described.get("name")).endswith(("dinov3", "dinov3_qkvb")) and beside.get("rotary_base") is not None:
        described["options"]["rope_temperature"] = beside["rotary_base"]
    return described


def features_of(model: ModelLike, pool: str | None = None) -> Features:
    """Return the function of (model, images) that computes one array for each image.

    Args:
        model: the result of `load_frozen`.
        pool: "mean" of the patch tokens (D,), "cls", the class token (D,), or "tokens", those of the patches (L, D);
            by default a classifier's own pooling, and "mean" for other models.

    Raises:
        UsageError: an unknown name, or "cls" for an encoder without such a token.
    """
    if pool is None:
        return token_features
    prefix = model.encoder.num_prefix_tokens
    if pool == "cls" and not has_class_token(model.encoder):
        raise UsageError('The encoder has no class token to take as features: use pool="mean" or "tokens".')
    choices: dict[str, Callable[[int], Callable[[Tensor], Tensor]]] = {
        "mean": PatchMean,
        "cls": FirstToken,
        "tokens": lambda prefix: lambda tokens: tokens[:, prefix:],
    }
    if pool not in choices:
        raise UsageError(f'pool is {pool!r}, but must be "mean", "cls" or "tokens".')
    pooled = choices[pool](prefix)
    return lambda model, images: pooled(model.encoder(images)).float()
