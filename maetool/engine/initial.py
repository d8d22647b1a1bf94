"""The weights that a model begins with: those of an earlier training that fit, and a report of what became of each."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from maetool.convert.formats import FORMATS
from maetool.convert.positions import grid_of_positions
from maetool.errors import UsageError
from maetool.ops.geometry import by, grid_of, to_size
from maetool.ops.kernel import adapt_channels, resize_kernel
from maetool.ops.pos_embed import fit_pos_embed, grid_of_table, square_grid
from maetool.registry import ENCODERS

from .checkpoint import read_checkpoint, weights_of
from .config import stated
from .config_stored import read_section, trusted
from .sharding import load_weights_into, whole

_ENCODER = "encoder."
_POSITIONS = "encoder.pos_embed"
_KERNEL = "encoder.patch_embed.proj.weight"
_SHOWN = 4  # names of a kind in the report
ADAPTABLE = ("channels", "patch_size")  # what is changed in a checkpoint only on request


@dataclass
class LoadReport:
    """What became of the tensors of a checkpoint and of the model; names are the model's.

    Attributes:
        loaded: taken as they are.
        resized: taken, or computed anew, for another grid.
        missing: the checkpoint has none of this name, so they keep their random start.
        other_size: of another shape outside of the encoder, such as the head of other classes; a random start too.
        unused: the model has none of this name.
        share: of the numbers of the encoder that were filled, 0 to 1.
    """

    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    other_size: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    share: float = 0.0

    def __str__(self) -> str:
        kinds = {
            "loaded": self.loaded,
            "resized": self.resized,
            "missing, so untrained": self.missing,
            "of another size, so untrained": self.other_size,
            "unused": self.unused,
        }
        told = "; ".join(
            f"{len(names)} {kind}{'' if kind == 'loaded' else named(names)}" for kind, names in kinds.items()
        )
        return f"{self.share:.1%} of the encoder is filled. Tensors: {told}."


def named(names: Sequence[str]) -> str:
    """Return the first names in brackets and how many more there are; nothing where there are none."""
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" ({', '.join(names[:_SHOWN])}{more})"


def load_initial(
    model: nn.Module, path: str | Path, min_share: float = 0.99, adapt: Collection[str] = ()
) -> LoadReport:
    """Fill a model with what fits of a checkpoint, and return the report.

    The checkpoint is one of ours, of pretraining, of a classifier or of an exported encoder, or one of another project
    (`maetool.convert.formats`). Positions are resized to the grid of the encoder, or computed where they are fixed.

    Args:
        model: with an `encoder`; may be sharded, and then all processes must call this together.
        path: the file.
        min_share: least share of the numbers of the encoder that must be filled, 0 to 1.
        adapt: what may differ and is then adapted: "channels", "patch_size"; see `maetool.ops.kernel`.

    Raises:
        UsageError: a file that cannot be read or has no encoder, an encoder of another shape, or one that fills less
            than `min_share`; the model is left as it was.
    """
    if not 0 <= min_share <= 1:
        raise UsageError(f"init_share is {min_share!r}, but must be a number from 0 to 1.")
    state = read_checkpoint(path)
    weights = weights_of(state, path)
    own = whole(model.state_dict())
    report = LoadReport(unused=[name for name in weights if name not in own])
    weights = _adapted(own, weights, adapt, report)
    _check_encoder(own, weights, path)
    chosen = {name: _choose(model, name, own[name], weights.get(name), state, report) for name in own}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    encoder = {name: value.numel() for name, value in own.items() if name.startswith(_ENCODER)}
    report.share = sum(size for name, size in encoder.items() if name in chosen) / sum(encoder.values())
    missing = [name for name in report.missing if name in encoder]
    if report.share < min_share:
        raise UsageError(
            f"{path} fills {report.share:.1%} of the encoder, less than init_share={min_share:.1%}: "
            f"{len(missing)} tensors are missing{named(missing)}. Pass a checkpoint of this encoder."
        )
    load_weights_into(model, {**own, **chosen})
    return report


def _check_encoder(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: str | Path) -> None:
    if not any(name.startswith(_ENCODER) for name in weights):
        raise UsageError(
            f"{path} holds no encoder: none of its {len(weights)} tensors is called {_ENCODER}something, nor as in a "
            f"format that can be read ({', '.join(FORMATS)}); the first is {next(iter(weights))}. Pass a checkpoint of "
            "pretraining."
        )
    for name, value in weights.items():
        if name.startswith(_ENCODER) and name != _POSITIONS and name in own and own[name].shape != value.shape:
            raise UsageError(
                f"The encoder of {path} is another than the config's: {name} is {by(value.shape)} there and "
                f"{by(own[name].shape)} here{_hint(name, value, own[name])}. Pass a checkpoint of this encoder, or "
                "change model.encoder to that of the checkpoint."
            )


def _adapted(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], adapt: Collection[str], report: LoadReport
) -> Mapping[str, Tensor]:
    """Return the weights with the kernel of the patch embedding as the model has it, so far as that was asked for."""
    adapt = [adapt] if isinstance(adapt, str) else adapt  # one word of the command line
    wrong = [what for what in adapt if what not in ADAPTABLE]
    if wrong:
        raise UsageError(f"init_adapt is {list(adapt)}, but may hold only {' and '.join(map(repr, ADAPTABLE))}.")
    ours, theirs = own.get(_KERNEL), weights.get(_KERNEL)
    if ours is None or theirs is None or ours.ndim != 4 or theirs.ndim != 4:
        return weights
    kernel, channels, size, told = theirs, ours.shape[1], ours.shape[2:], []
    if "channels" in adapt and theirs.shape[1] != channels:
        kernel = adapt_channels(kernel, channels)
        told.append(f"from {theirs.shape[1]} to {channels} channels")
    if "patch_size" in adapt and theirs.shape[2:] != size:
        kernel = resize_kernel(kernel, size)
        told.append(f"from patches of {by(theirs.shape[2:])} to {by(size)}")
    if told:
        report.resized.append(f"{_KERNEL} {' and '.join(told)}")
    return {**weights, _KERNEL: kernel}


def _hint(name: str, theirs: Tensor, ours: Tensor) -> str:
    if name != _KERNEL or len(theirs) != len(ours):
        return ""
    if theirs.shape[1] != ours.shape[1]:
        there, here = theirs.shape[1], ours.shape[1]
        return f", trained on images of {there} channels instead of {here} (init_adapt=['channels'] adapts them)"
    there, here = by(theirs.shape[2:]), by(ours.shape[2:])
    return f", trained with patches of {there} pixels instead of {here} (init_adapt=['patch_size'] adapts them)"


def _choose(
    model: nn.Module, name: str, ours: Tensor, theirs: Tensor | None, state: Mapping[str, Any], report: LoadReport
) -> Tensor | None:
    """Return what the tensor `name` of the model becomes, or None where it keeps its start, and note which."""
    if theirs is None:
        report.missing.append(name)
        return None
    if theirs.shape == ours.shape:
        if not any(told.startswith(f"{name} ") for told in report.resized):
            report.loaded.append(name)
        return theirs
    if name == _POSITIONS:
        return _positions(model.encoder, ours, theirs, state, report)
    report.other_size.append(f"{name} {by(theirs.shape)} instead of {by(ours.shape)}")
    return None


def _positions(
    encoder: nn.Module, ours: Tensor, theirs: Tensor, state: Mapping[str, Any], report: LoadReport
) -> Tensor:
    prefix, new = encoder.num_prefix_tokens, tuple(encoder.grid)
    # A table that was learned, or is another fixed one such as mmpretrain's, says more than ours computed anew.
    if not getattr(encoder, "learns_positions", True) and grid_of_table(theirs, prefix):
        report.resized.append(f"{_POSITIONS} computed for {by(new)}")
        return ours
    old = _grid_of(state, theirs, prefix)
    report.resized.append(f"{_POSITIONS} from {by(old)} to {by(new)}")
    return fit_pos_embed(theirs, old, new, prefix)


def _grid_of(state: Mapping[str, Any], table: Tensor, prefix: int) -> tuple[int, int]:
    """Return the grid of the positions of a checkpoint: what it says itself, else what they tell, else a square.

    Beside the grid there are `prefix` positions, or also one for a class token.
    """
    model = read_section(state.get("meta"), "model")
    encoder = model.get("encoder") if model else None
    if isinstance(encoder, Mapping):
        with suppress(UsageError, KeyError):  # of a class that is not here, whose defaults nobody knows
            size, patch = (to_size(_of_encoder(encoder, name), name) for name in ("img_size", "patch_size"))
            return grid_of(size, patch)
    grid = grid_of_positions(table) or square_grid(table.shape[1], prefix)
    if grid is None:
        raise UsageError(
            f"The checkpoint has positions for {table.shape[1] - prefix} patches, which is no square, and does not say "
            "which grid: set model.encoder.img_size to the one that it was trained with."
        )
    return grid


def _of_encoder(encoder: Mapping, name: str) -> Any:
    return encoder[name] if name in encoder else stated(trusted(encoder, "The checkpoint"), ENCODERS, name)


def check_classes(model: nn.Module, dataset: Any) -> None:
    """Check that a classifier tells as many classes apart as the data has.

    Raises:
        UsageError: another number.
    """
    classes = getattr(dataset, "classes", None)
    expected = getattr(model, "num_classes", None)
    if classes and expected and len(classes) != expected:
        some = ", ".join(str(name) for name in list(classes)[:3])
        raise UsageError(
            f"The data has {len(classes)} classes ({some}, ...), but model.num_classes is {expected}: add "
            f"--cfg-options model.num_classes={len(classes)}."
        )
