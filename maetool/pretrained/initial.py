"""Initialises a model from a checkpoint, and reports what was loaded, resized and skipped."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn

from maetool.config.keys import Adaptable
from maetool.errors import UsageError
from maetool.models import start_parts
from maetool.ops.geometry import by
from maetool.ops.kernel import adapt_channels, resize_kernel
from maetool.parallel.sharding import load_weights_into
from maetool.positions import fit_positions
from maetool.weights.formats.table import FORMATS
from maetool.weights.read import read_checkpoint, weights_of

from .facts import recorded_grid

_ENCODER = "encoder."
_KERNEL = "encoder.patch_embed.proj.weight"
_SHOWN = 4  # names of a kind in the report
ADAPTABLE = get_args(Adaptable)


@dataclass
class LoadReport:
    """What became of the tensors of a checkpoint and of the model; names are the model's.

    Attributes:
        loaded: taken as they are.
        resized: taken, for another grid.
        assumed: taken as they are, though nothing says that they are for this grid and not for a square one.
        missing: the checkpoint has none of this name, so they keep their random start.
        other_size: of another shape outside of the encoder, such as the head of other classes; a random start too.
        unused: the model has none of this name.
        started: tensors of parts that start from the loaded weights, such as an averaged encoder.
        share: of the numbers of the encoder that were filled, 0 to 1.
    """

    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    other_size: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    share: float = 0.0

    def start(self, names: Sequence[str]) -> None:
        """Note tensors that a part of the model has set from the weights that were loaded."""
        self.started = list(names)
        self.missing = [name for name in self.missing if name not in names]
        self.other_size = [line for line in self.other_size if line.split(" ")[0] not in names]

    def __str__(self) -> str:
        kinds = {
            "loaded": self.loaded,
            "resized": self.resized,
            **({"taken for the same grid, which the file does not say": self.assumed} if self.assumed else {}),
            "missing, so untrained": self.missing,
            "of another size, so untrained": self.other_size,
            "unused": self.unused,
        }
        if self.started:
            kinds["started from these by a part of the model"] = self.started
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
    model: nn.Module,
    path: str | Path,
    min_share: float = 0.99,
    adapt: Collection[str] = (),
    state: Mapping[str, Any] | None = None,
) -> LoadReport:
    """Fill a model with what fits of a checkpoint, and return the report.

    The checkpoint is one of ours, of pretraining, of a classifier or of an exported encoder, or one of another project
    (`maetool.weights.formats.table`). Tables of positions, learned or fixed, are resized to the grids of the model.

    Args:
        model: with an `encoder`; may be sharded, and then all processes must call this together.
        path: the file.
        min_share: least share of the numbers of the encoder that must be filled, 0 to 1.
        adapt: what may differ and is then adapted: "channels", "patch_size"; see `maetool.ops.kernel`.
        state: what `read_checkpoint` returned, where the file was read already.

    Raises:
        UsageError: a file that cannot be read or has no encoder, an encoder of another shape, or one that fills less
            than `min_share`; the model is left as it was.
    """
    if not 0 <= min_share <= 1:
        raise UsageError(f"init_share is {min_share!r}, but must be a number from 0 to 1.")
    state = read_checkpoint(path) if state is None else state
    weights = weights_of(state, path)
    own = model.state_dict()
    report = LoadReport(unused=[name for name in weights if name not in own])
    fitted = fit_positions(model, own, weights, recorded_grid(state, weights, Path(path)))
    report.assumed = fitted.assumed
    weights = _adapted(own, fitted.weights, adapt, report)
    report.resized += fitted.resized
    _check_encoder(own, weights, path)
    chosen = {name: _choose(name, own[name], weights.get(name), report) for name in own}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    encoder = {name: value.numel() for name, value in own.items() if name.startswith(_ENCODER)}
    report.share = sum(size for name, size in encoder.items() if name in chosen) / sum(encoder.values())
    missing = [name for name in report.missing if name in encoder]
    if report.share < min_share:
        raise UsageError(
            f"{path} fills {report.share:.1%} of the encoder, less than init_share={min_share:.1%}: "
            f"{len(missing)} tensors are missing{named(missing)}. Pass a checkpoint of this encoder."
        )
    load_weights_into(model, {name: value for name, value in chosen.items() if value is not own[name]})
    report.start(start_parts(model, chosen))
    return report


def _check_encoder(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: str | Path) -> None:
    if not any(name.startswith(_ENCODER) for name in weights):
        raise UsageError(
            f"{path} holds no encoder: none of its {len(weights)} tensors is called {_ENCODER}something, nor as in a "
            f"format that can be read ({', '.join(FORMATS)}); the first is {next(iter(weights))}. Pass a checkpoint of "
            "pretraining."
        )
    for name, value in weights.items():
        if name.startswith(_ENCODER) and name in own and own[name].shape != value.shape:
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


def _choose(name: str, ours: Tensor, theirs: Tensor | None, report: LoadReport) -> Tensor | None:
    """Return what the tensor `name` of the model becomes, or None where it keeps its start, and note which."""
    if theirs is None:
        report.missing.append(name)
    elif theirs.shape != ours.shape:
        report.other_size.append(f"{name} {by(theirs.shape)} instead of {by(ours.shape)}")
    else:
        if not any(note.startswith(f"{name} ") for note in report.resized + report.assumed):
            report.loaded.append(name)
        return theirs
    return None


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
