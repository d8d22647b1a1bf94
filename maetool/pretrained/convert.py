"""Converts checkpoints between the formats of other projects and maetool's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maetool.errors import UsageError
from maetool.metadata.provenance import versions
from maetool.weights.complete import named
from maetool.weights.formats.table import ALL_FORMATS, left_out, recognise
from maetool.weights.pick import pick
from maetool.weights.read import named_weights, read_checkpoint, weights_of

from .as_built import in_names_of_encoder
from .export import describe, write_weights
from .facts import section_in
from .frozen import section_of

OURS = "maetool"


@dataclass
class Conversion:
    """A converted checkpoint.

    Attributes:
        content: the content to write: `state_dict`, or the other project's key, and `meta`.
        tensors: number of converted tensors.
        lost: maetool's names of tensors that the other format cannot hold.
        source: name of the format that was read.
    """

    content: dict[str, Any]
    tensors: int
    lost: list[str]
    source: str

    def __str__(self) -> str:
        lost = f"{len(self.lost)} left out, which have no place there{named(self.lost)}" if self.lost else ""
        return f"{self.tensors} tensors of {self.source} converted{'; ' if lost else ', none left out'}{lost}."


def convert(
    path: str | Path,
    to: str,
    num_heads: int | None = None,
    section: Any = None,
    key: str | None = None,
    prefix: str | None = None,
) -> Conversion:
    """Convert a checkpoint of any known format to another one.

    Args:
        path: the checkpoint.
        to: a name of `maetool.weights.formats.table.ALL_FORMATS`, or "maetool".
        num_heads: attention heads of the encoder, which weights do not determine.
        section: `encoder` and `data_preprocessor` of a config; None reads them from the checkpoint.
        key, prefix: which of several models, see `maetool.weights.pick.pick`.

    Raises:
        UsageError: an unknown format, a file without a known format or with two models, an encoder that the other
            format cannot hold, or one that the checkpoint does not describe.
    """
    if to not in (OURS, *ALL_FORMATS):
        raise UsageError(f"There is no format {to!r}: choose {OURS}, {', '.join(ALL_FORMATS)}.")
    state = pick(read_checkpoint(path), path, key, prefix)
    source = recognise(named_weights(state, path), str(path)) or OURS
    weights = weights_of(state, path)
    meta = {name: value for name, value in (state.get("meta") or {}).items() if name in ("cfg", "epoch", "versions")}
    if not any(name.startswith("encoder.") for name in weights):
        raise UsageError(
            f"{path} has no known format: its names, such as {next(iter(weights))}, are of none of the formats "
            f"{OURS}, {', '.join(ALL_FORMATS)}."
        )
    is_users = section is not None
    section = section or section_of(state, weights, path, num_heads)
    meta |= {"source": str(path), "format": source, "converted_by": versions(), **describe(section)}
    if section_in(state.get("meta")) is None:  # of another project
        weights = in_names_of_encoder(section.encoder, weights, path, is_users)
    lost = [] if to == OURS else left_out(weights, to)
    _check_encoder(lost, to, path)
    converted = weights if to == OURS else ALL_FORMATS[to].from_ours(weights)
    return Conversion({"state_dict": converted, "meta": meta}, len(weights) - len(lost), lost, source)


def write_conversion(conversion: Conversion, to: str, path: Path) -> None:
    """Write a converted checkpoint with the other project's keys; .safetensors holds the weights alone.

    Args:
        conversion: the weights under the other project's names.
        to: format they are in, a key of `ALL_FORMATS`, or maetool's.
        path: of the file.

    Raises:
        UsageError: the file cannot be written.
    """
    content = conversion.content
    if path.suffix == ".safetensors" or to == OURS:
        write_weights(content, path)
        return
    key = ALL_FORMATS[to].key
    write_weights({key: content["state_dict"], "meta": content["meta"]} if key else content["state_dict"], path)


def _check_encoder(lost: list[str], to: str, path: str | Path) -> None:
    encoder = [name for name in lost if name.startswith("encoder.") and name != "encoder.mask_token"]
    if encoder:
        raise UsageError(
            f"The encoder of {path} has {len(encoder)} tensors for which {to} has no place{named(encoder)}: this "
            "format can only hold a plain ViT."
        )
