"""Exports the encoder of a checkpoint for timm or safetensors; `maetool.pretrained.graphs` writes ONNX."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine import ConfigDict
from safetensors.torch import save
from torch import Tensor

from maetool.config.complete import source_of_images
from maetool.config.facts import argument_of
from maetool.errors import UsageError
from maetool.ops.geometry import rank_of, to_size
from maetool.registry import ENCODERS, MODELS
from maetool.weights.read import safetensors_metadata, weights_of
from maetool.weights.write import to_plain, write_checkpoint
from maetool.writing import check_file, write_file

from .as_built import in_names_of_encoder
from .facts import requested_grid, section_in
from .frozen import section_of

_PREFIX = "encoder."
_FACTS = ("epoch", "iter", "versions", "cfg", "config", "source", "format")


def encoder_of(
    state: Mapping[str, Any],
    source: str,
    num_heads: int | None = None,
    section: ConfigDict | None = None,
    img_size: int | Sequence[int] | None = None,
) -> dict[str, Any]:
    """Return `state_dict`, the encoder's weights under timm's names, and `meta`, the information needed to use them.

    If the run kept an EMA of its weights, these are the averaged ones. `meta` has the encoder's config, the size, patch
    size, channels, mean and standard deviation of the images, the epoch, the versions and the complete config of the
    run, as far as the checkpoint has them.

    Args:
        state: the result of `read_checkpoint`.
        source: its path, for messages.
        num_heads: see `section_of`.
        section: `encoder` and `data_preprocessor`, if the checkpoint does not describe them.
        img_size: the image size to use, which determines the grid of positions if the checkpoint does not.

    Raises:
        UsageError: the checkpoint holds no encoder, or does not describe it.
    """
    weights = weights_of(state, source)
    is_foreign, is_users = section_in(state.get("meta")) is None, section is not None
    section = section or section_of(state, weights, source, num_heads, requested_grid(weights, img_size))
    weights = in_names_of_encoder(section.encoder, weights, source, is_users) if is_foreign else weights
    encoder = {name.removeprefix(_PREFIX): value for name, value in weights.items() if name.startswith(_PREFIX)}
    if not encoder:
        raise UsageError(
            f"{source} holds no encoder: none of its {len(weights)} tensors is called {_PREFIX}something (the first is "
            f"{next(iter(weights))}). Pass a checkpoint that training wrote."
        )
    meta = state.get("meta") or {}
    facts = {"source": source, **{name: meta[name] for name in _FACTS if name in meta}}
    return {"meta": {**facts, **describe(section)}, "state_dict": encoder}


def describe(section: ConfigDict) -> dict[str, Any]:
    """Return the information needed to use an encoder: its config, `encoder` and `data_preprocessor`, and `images`.

    Args:
        section: `encoder` and `data_preprocessor` of a config.
    """
    section = ConfigDict({"data_preprocessor": {"type": "ImagePreprocessor"}, **section})
    encoder, preprocessor = section.encoder, section.data_preprocessor
    images = {name: argument_of(preprocessor, MODELS, name) for name in ("mean", "std")}
    part, parts = source_of_images(encoder) or (encoder, ENCODERS)  # or its only stem
    images |= {"in_chans": argument_of(part, parts, "in_chans")}
    sizes = {name: argument_of(part, parts, name) for name in ("img_size", "patch_size")}
    rank = rank_of(*(size for size in sizes.values() if size is not None))
    images |= {name: None if size is None else to_size(size, name, rank) for name, size in sizes.items()}
    return {"encoder": encoder.to_dict(), "data_preprocessor": preprocessor.to_dict(), "images": images}


def check_out(out: str, to: str | None = None) -> Path:
    """Return the path of an exported file or folder, after checking its name.

    Args:
        out: the value of --out.
        to: the value of --to; with one, it is a folder.

    Raises:
        UsageError: an unknown suffix, or a folder that is a file.
    """
    is_file = Path(out).suffix in (".pth", ".safetensors", ".onnx")
    if to is not None:
        if is_file or Path(out).is_file():
            raise UsageError(f"--to {to} writes a folder of several files, but --out is {out}: name a folder.")
        check_file(str(Path(out, "config.json")), "--out")
        return Path(out)
    if not is_file:
        raise UsageError(f"--out is {out}, but must end in .pth, .safetensors or .onnx; a folder needs --to.")
    return check_file(out, "--out")


def write_weights(state: Mapping[str, Any], path: Path) -> None:
    """Write `state_dict` and `meta` as .safetensors, with `meta` in its header, or else as a file of torch.

    Args:
        state: holds both; `meta` may be missing.
        path: of the file; its suffix decides.

    Raises:
        UsageError: the disk is full or the folder cannot be written.
    """
    if path.suffix != ".safetensors":
        write_checkpoint(state, path)
        return
    weights = {name: value.cpu().contiguous() for name, value in state["state_dict"].items()}
    write_file(path, save(weights, safetensors_metadata(to_plain(state.get("meta", {})), weights)))


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with those of floating point as float16."""
    return {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
