"""Initialises a model from a checkpoint, and reports what was loaded, resized and skipped."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn

from maetool.config.keys import Adaptable
from maetool.errors import UsageError
from maetool.models import start_parts
from maetool.ops.geometry import format_size
from maetool.ops.kernel import adapt_channels, resize_kernel
from maetool.parallel.sharding import load_weights_into
from maetool.positions import fit_positions
from maetool.weights.complete import check_complete, named
from maetool.weights.formats.plain import in_names_of
from maetool.weights.formats.table import ALL_FORMATS
from maetool.weights.read import read_checkpoint, weights_of

from .as_trained import options_as_trained
from .facts import recorded_grid
from .normalisation import other_normalisation

_ENCODER = "encoder."
_KERNEL = "encoder.patch_embed.proj.weight"
DEFAULT_SHARE = 0.99
ADAPTABLE = get_args(Adaptable)


@dataclass
class LoadReport:
    """How the tensors of a checkpoint were used; all names are the model's.

    Attributes:
        loaded: loaded unchanged.
        resized: loaded after resizing to the model's grid.
        assumed: loaded unchanged, on the assumption that they are for the model's grid and not for a square one.
        missing: not in the checkpoint, so their initial values are random.
        other_size: of another shape outside the encoder, such as a head for other classes; random too.
        unused: in the checkpoint only.
        started: tensors of parts that are initialised from the loaded weights, such as an EMA teacher.
        share: share of the encoder's numbers that were loaded, 0 to 1.
        remark: a warning about the images, empty if they are normalised as in the training of the checkpoint.
    """

    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    other_size: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    share: float = 0.0
    remark: str = ""

    def start(self, names: Sequence[str]) -> None:
        """Record the names of tensors that a part of the model initialised from the loaded weights."""
        self.started = list(names)
        self.missing = [name for name in self.missing if name not in names]
        self.other_size = [line for line in self.other_size if line.split(" ")[0] not in names]

    def __str__(self) -> str:
        kinds = {
            "loaded": self.loaded,
            "resized": self.resized,
            **(
                {"assumed to be for the same grid, which the file does not record": self.assumed}
                if self.assumed
                else {}
            ),
            "missing, so untrained": self.missing,
            "of another size, so untrained": self.other_size,
            "unused": self.unused,
        }
        if self.started:
            kinds["initialised from these by a part of the model"] = self.started
        counts = "; ".join(
            f"{len(names)} {kind}{'' if kind == 'loaded' else named(names)}" for kind, names in kinds.items()
        )
        return f"{self.share:.1%} of the encoder is filled. Tensors: {counts}."


def load_initial(
    model: nn.Module,
    path: str | Path,
    min_share: float = DEFAULT_SHARE,
    adapt: Collection[str] = (),
    state: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> LoadReport:
    """Load the tensors of a checkpoint that fit a model, and return a report.

    The checkpoint may be maetool's, of pretraining, of a classifier or of an exported encoder, or another project's
    (`maetool.weights.formats.table`). Position tables, learned or fixed, are resized to the grids of the model.

    Args:
        model: a model with an `encoder`; if it is sharded, all processes must call this together.
        path: the file.
        min_share: smallest share of the encoder's numbers that must be loaded, 0 to 1. From 0.99 on no tensor of the
            encoder may be missing but mask tokens and relative positions, and none of a block may be unused.
        adapt: what to adapt if it differs: "channels", "patch_size"; see `maetool.ops.kernel`.
        state: the result of `read_checkpoint`, if the file was already read.
        config: section `model` of the config, for a sentence that names the options to change.

    Raises:
        UsageError: a file that cannot be read or has no encoder, an encoder of another shape, or one that fills less
            than `min_share` or is of another architecture; the model stays unchanged.
    """
    if not 0 <= min_share <= 1:
        raise UsageError(f"init_share is {min_share!r}, but must be a number from 0 to 1.")
    state = read_checkpoint(path) if state is None else state
    own = model.state_dict()
    weights = in_names_of(own, weights_of(state, path))
    report = LoadReport(unused=[name for name in weights if name not in own])
    fitted = fit_positions(model, own, weights, recorded_grid(state, weights, path))
    report.assumed = fitted.assumed
    adapted = _adapted(own, fitted.weights, adapt, report)
    report.resized += fitted.resized
    options = options_as_trained(config, state.get("meta")) if config else []
    as_trained = f": --cfg-options {shlex.join(options)}" if options else ""
    _check_encoder(own, adapted, path, as_trained)
    values = {name: _choose(name, own[name], adapted.get(name), report) for name in own}
    chosen = {name: value for name, value in values.items() if value is not None}
    encoder = {name: value.numel() for name, value in own.items() if name.startswith(_ENCODER)}
    report.share = sum(size for name, size in encoder.items() if name in chosen) / sum(encoder.values())
    missing = [name for name in report.missing if name in encoder]
    if report.share < min_share:
        raise UsageError(
            f"{path} fills {report.share:.1%} of the encoder, less than init_share={min_share:.1%}: "
            f"{len(missing)} tensors are missing{named(missing)}. Pass a checkpoint of this encoder."
        )
    if min_share >= DEFAULT_SHARE:
        check_complete(missing, report.unused, weights, own, path, _remedy(missing, as_trained))
    load_weights_into(model, {name: value for name, value in chosen.items() if value is not own[name]})
    report.start(start_parts(model, chosen))
    report.remark = other_normalisation(model, state.get("meta"), path)
    return report


def _remedy(missing: Sequence[str], as_trained: str) -> str:
    """Return what else can be done about tensors of the encoder that a checkpoint does not hold."""
    without_norm = any(name.startswith("encoder.norm.") for name in missing)
    norm = ", for one that ends without a norm, as BEiT and classifiers of pooled tokens do, by final_norm=False"
    return f"{as_trained or norm * without_norm}, or accept it with init_share below {DEFAULT_SHARE}"


def _check_encoder(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: str | Path, as_trained: str) -> None:
    if not any(name.startswith(_ENCODER) for name in weights):
        raise UsageError(
            f"{path} holds no encoder: none of its {len(weights)} tensors is called {_ENCODER}something, and it has "
            f"none of the known formats ({', '.join(ALL_FORMATS)}); the first is {next(iter(weights))}. Pass a "
            "checkpoint of pretraining."
        )
    for name, value in weights.items():
        if name.startswith(_ENCODER) and name in own and own[name].shape != value.shape:
            raise UsageError(
                f"The encoder of {path} is not that of the config: {name} is {format_size(value.shape)} there and "
                f"{format_size(own[name].shape)} here{_hint(name, value, own[name])}. Pass a checkpoint of this "
                f"encoder, or change model.encoder to that of the checkpoint{as_trained}."
            )


def _adapted(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], adapt: Collection[str], report: LoadReport
) -> Mapping[str, Tensor]:
    """Return the weights with the patch embedding's kernel adapted to the model, as far as requested."""
    adapt = [adapt] if isinstance(adapt, str) else adapt  # a single value from the command line
    wrong = [what for what in adapt if what not in ADAPTABLE]
    if wrong:
        raise UsageError(f"init_adapt is {list(adapt)}, but may hold only {' and '.join(map(repr, ADAPTABLE))}.")
    param, ckpt_param = own.get(_KERNEL), weights.get(_KERNEL)
    if param is None or ckpt_param is None or param.ndim != 4 or ckpt_param.ndim != 4:
        return weights
    kernel, channels, size, changes = ckpt_param, param.shape[1], param.shape[2:], []
    if "channels" in adapt and ckpt_param.shape[1] != channels:
        kernel = adapt_channels(kernel, channels)
        changes.append(f"from {ckpt_param.shape[1]} to {channels} channels")
    if "patch_size" in adapt and ckpt_param.shape[2:] != size:
        kernel = resize_kernel(kernel, size)
        changes.append(f"from patches of {format_size(ckpt_param.shape[2:])} to {format_size(size)}")
    if changes:
        report.resized.append(f"{_KERNEL} {' and '.join(changes)}")
    return {**weights, _KERNEL: kernel}


def _hint(name: str, ckpt_param: Tensor, param: Tensor) -> str:
    if name != _KERNEL or len(ckpt_param) != len(param):
        return ""
    if ckpt_param.shape[1] != param.shape[1]:
        there, here = f"{ckpt_param.shape[1]}", f"{param.shape[1]}"
        return f", trained on images of {there} channels instead of {here} (init_adapt=['channels'] adapts them)"
    there, here = format_size(ckpt_param.shape[2:]), format_size(param.shape[2:])
    return f", trained with patches of {there} pixels instead of {here} (init_adapt=['patch_size'] adapts them)"


def _choose(name: str, param: Tensor, ckpt_param: Tensor | None, report: LoadReport) -> Tensor | None:
    """Return the new value of a tensor of the model, or None if it keeps its initial value, and record which."""
    if ckpt_param is None:
        report.missing.append(name)
    elif ckpt_param.shape != param.shape:
        report.other_size.append(f"{name} {format_size(ckpt_param.shape)} instead of {format_size(param.shape)}")
    else:
        if not any(note.startswith(f"{name} ") for note in report.resized + report.assumed):
            report.loaded.append(name)
        return ckpt_param
    return None


def check_classes(model: nn.Module, dataset: Any) -> None:
    """Check that a classifier has the data's number of classes.

    Args:
        model: whose `num_classes` is checked, if it has one.
        dataset: of training, whose `classes` count, if it has any.

    Raises:
        UsageError: the numbers differ.
    """
    classes = getattr(dataset, "classes", None)
    expected = getattr(model, "num_classes", None)
    if classes and expected and len(classes) != expected:
        some = ", ".join(str(name) for name in list(classes)[:3])
        raise UsageError(
            f"The data has {len(classes)} classes ({some}, ...), but model.num_classes is {expected}: add "
            f"--cfg-options model.num_classes={len(classes)}."
        )
