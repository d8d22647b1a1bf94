"""Features of a teacher as target."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.annotations import Size
from maetool.errors import UsageError
from maetool.layers import find_layers
from maetool.ops.geometry import by, to_size
from maetool.ops.stats import along_channels, check_deviations, check_normalisable, patch_stats
from maetool.registry import ENCODERS, TARGETS
from maetool.structures import MaskPlan
from maetool.weights.read import local_file

from .teacher_weights import load_encoder as load_encoder

Normalisation = Literal["token", "length", "none"]


class TeacherTarget(nn.Module):
    """Base of the targets that a teacher, an encoder, gives; its features are P = D wide.

    The teacher learns nothing, draws nothing at random, and travels in the checkpoint. It runs in the precision of the
    model, because in float32 it would cost more than the model; its features are normalised in float32.

    Args:
        teacher: the encoder, a module.
        layers: whose tokens are averaged, 0 being what enters the first block and -1 what leaves the last; None takes
            what the encoder returns, after its final norm.
        normalise: each token of each layer: "token", to mean 0 and deviation 1 (unbiased; dBOT, MaskDistill);
            "length", to length 1 (DMAE); or "none".
        sees: what the teacher is shown: "all", the whole image, or "visible", what the encoder sees too; its features
            are then those of visible patches only (DMAE).
        predict_prefix: give the features of the teacher's prefix too, which come first (dBOT).

    Attributes:
        predicted_prefix: tokens of the prefix that are given, T or 0.

    Raises:
        UsageError: an unknown choice, layers that there are not, or a teacher that cannot see so.
    """

    invertible = False
    rounds_with_autocast = True

    def __init__(
        self,
        teacher: Any,
        layers: Sequence[int] | None,
        normalise: Normalisation,
        sees: Literal["all", "visible"] = "all",
        predict_prefix: bool = False,
    ) -> None:
        super().__init__()
        if predict_prefix and not teacher.num_prefix_tokens:
            raise UsageError("predict_prefix is True, but the teacher has no class token: set it to False.")
        self.predicted_prefix = teacher.num_prefix_tokens if predict_prefix else 0
        if sees not in ("all", "visible") or (sees == "visible" and getattr(teacher, "sees", "visible") != "visible"):
            raise UsageError(
                f'sees is {sees!r}, but must be "all", or "visible" with a teacher whose own `sees` is "visible".'
            )
        if sees == "visible":
            self.predicts = "visible"
        if normalise not in ("token", "length", "none"):
            raise UsageError(f'normalise is {normalise!r}, but must be "token", "length" or "none".')
        self.teacher = teacher.requires_grad_(False).eval()
        self.layers = None if layers is None else find_layers(layers, getattr(teacher, "num_layers", 0))
        self.normalise, self.sees, self.out_dim = normalise, sees, teacher.embed_dim
        if normalise == "token":
            check_normalisable(self.out_dim, 'normalise="token"', 'target.normalise="none"')

    def train(self, mode: bool = True) -> "TeacherTarget":
        """Return self; the teacher stays in evaluation mode whatever the model does."""
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, plan: MaskPlan) -> Tensor:
        """Return the float32 features (B, M, P) of images (B, C, H, W) at `plan.ids_predict`.

        With `predict_prefix` they are (B, T + M, P), those of the prefix first.
        """
        images, shown = self.prepare(images.float()), plan if self.sees == "visible" else None
        found = [self.teacher(images, shown)] if self.layers is None else self.teacher(images, shown, self.layers)
        return torch.stack([self._normalised(self._chosen(x, plan).float()) for x in found]).mean(dim=0)

    def _chosen(self, tokens: Tensor, plan: MaskPlan) -> Tensor:
        """Return the predicted ones (B, M, P), or (B, T + M, P), of the teacher's tokens."""
        take = plan.take_seen if self.sees == "visible" else plan.take_predicted
        patches = take(tokens[:, self.teacher.num_prefix_tokens :])
        return torch.cat([tokens[:, : self.predicted_prefix], patches], dim=1) if self.predicted_prefix else patches

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`: a teacher of the encoder's own kind and size."""
        layers = arguments["layers"]
        small: dict[str, Any] = {} if layers is None else {"layers": [min(layer, 2) for layer in layers]}
        if arguments["encoder"]:
            small |= {"teacher": arguments["encoder"], "checkpoint": None, "resize": ...}
        return small

    def prepare(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) as the teacher wants them."""
        return images

    def _normalised(self, tokens: Tensor) -> Tensor:
        if self.normalise == "token":
            mean, std = patch_stats(tokens)
            return (tokens - mean) / std
        return functional.normalize(tokens, dim=-1) if self.normalise == "length" else tokens


@TARGETS.register_module()
class FeatureTarget(TeacherTarget):
    """Features of a frozen teacher: any encoder, with weights from a file, from timm, or as they are drawn.

    Source: MaskDistill (a CLIP teacher), dBOT (the encoder of the stage before, and in the first one random weights),
    MR-MAE (features of visible patches).

    Args:
        teacher: config of an encoder, or the module.
        grid: (h, w) of the encoder that is trained, or one number.
        patch_size: (ph, pw) of the encoder that is trained, or one number.
        checkpoint: file with the teacher's weights: a checkpoint of ours, an exported encoder, or a published state
            dict with timm's names. Without one the teacher keeps the weights that it was built with.
        made_by: what makes the checkpoint, a command for example; told where the file is missing.
        layers, normalise, sees, predict_prefix: see `TeacherTarget`.
        resize: let the teacher see the images at another size, so that patches of another size make the same grid.
        mean, std: of each channel, how the images are normalised; the preprocessor's are filled in.
        teacher_mean, teacher_std: how the teacher wants them normalised, in the same units (0 to 255 for photographs).
            Without them it gets the images as they are.

    Raises:
        UsageError: a teacher of another grid or patch size, a file that is not its weights, or see `TeacherTarget`.
    """

    part_registries = {"teacher": ENCODERS}
    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        teacher: Any,
        grid: int | Sequence[int],
        patch_size: Size,
        checkpoint: str | None = None,
        made_by: str | None = None,
        layers: Sequence[int] | None = None,
        normalise: Normalisation = "token",
        sees: Literal["all", "visible"] = "all",
        resize: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        teacher_mean: Sequence[float] | None = None,
        teacher_std: Sequence[float] | None = None,
        predict_prefix: bool = False,
    ) -> None:
        teacher = ENCODERS.build(teacher)
        grid, patch_size = to_size(grid, "grid"), to_size(patch_size, "patch_size")
        _check_teacher(teacher, grid, patch_size, resize)
        if checkpoint is not None:
            _check_made(checkpoint, made_by)
            load_encoder(teacher, checkpoint)
        super().__init__(teacher, layers, normalise, sees, predict_prefix)
        self.patch_size, self.resize = patch_size, resize
        scale, shift = _renormalisation(mean, std, teacher_mean, teacher_std)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def prepare(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) at the size and with the statistics that the teacher was trained with."""
        images = images * along_channels(self.scale, images) + along_channels(self.shift, images)
        sides = zip(images.shape[2:], self.patch_size, self.teacher.patch_size, strict=True)
        size = [side // ours * theirs for side, ours, theirs in sides]  # of the same grid
        if not self.resize or list(images.shape[2:]) == size:
            return images
        return functional.interpolate(images, size, mode="bilinear", antialias=True)


@TARGETS.register_module()
class MomentumFeatureTarget(TeacherTarget):
    """Features of the moving average of the encoder that is being trained.

    It starts as a copy of the weights that training begins with, also those of `--init`, and moves after every
    optimiser step. The average travels in the checkpoint, and how fast it moves is a function of the progress, so that
    a resumed run goes on exactly. Source: data2vec, section 3.2, and BYOL's schedule.

    Args:
        encoder: the encoder that is trained; the model hands it over.
        layers, normalise, predict_prefix: see `TeacherTarget`.
        momentum: share of the average that stays in a step, at the beginning; it rises to 1 by half a cosine.

    Raises:
        UsageError: a momentum outside [0, 1], or see `TeacherTarget`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        layers: Sequence[int] | None = None,
        normalise: Normalisation = "token",
        momentum: float = 0.996,
        predict_prefix: bool = False,
    ) -> None:
        if not 0 <= momentum <= 1:
            raise UsageError(f"momentum is {momentum!r}, but must be from 0 (a copy) to 1 (never moves).")
        super().__init__(deepcopy(encoder), layers, normalise, predict_prefix=predict_prefix)
        self.momentum = momentum

    @torch.no_grad()
    def start(self, model: nn.Module) -> None:
        """Copy the weights of `model.encoder`; called once, when the weights that training begins with are in."""
        trained = model.get_submodule("encoder")
        for average, value in zip(self._tensors(self.teacher), self._tensors(trained), strict=True):
            average.copy_(value)

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Follow `model.encoder`; called after each optimiser step, `progress` of training in [0, 1] being over."""
        self.follow(model.get_submodule("encoder"), progress)

    @torch.no_grad()
    def follow(self, encoder: nn.Module, progress: float) -> None:
        """Move the average towards the weights of `encoder`, `progress` of training in [0, 1] being over."""
        stays = 1 - (1 - self.momentum) * (1 + math.cos(math.pi * progress)) / 2
        torch._foreach_lerp_([*self.teacher.parameters()], [*encoder.parameters()], 1 - stays)
        for average, value in zip(self.teacher.buffers(), encoder.buffers(), strict=True):
            average.copy_(value)

    @staticmethod
    def _tensors(encoder: nn.Module) -> list[Tensor]:
        return [*encoder.parameters(), *encoder.buffers()]


def _check_made(checkpoint: str, made_by: str | None) -> None:
    if made_by is not None and not local_file(checkpoint).exists():
        raise UsageError(
            f"There is no teacher {checkpoint}: make it with {made_by}, or name another as `checkpoint` of the target."
        )


def _check_teacher(teacher: Any, grid: tuple[int, ...], patch_size: tuple[int, ...], resize: bool) -> None:
    if resize and teacher.grid != grid:
        size = by(tuple(g * p for g, p in zip(grid, teacher.patch_size, strict=True)))
        raise UsageError(
            f"The teacher makes {by(teacher.grid)} patches of an image and the encoder {by(grid)}: "
            f"set target.teacher.img_size to {size}."
        )
    if not resize and teacher.patch_size != patch_size:
        raise UsageError(
            f"The teacher has patches of {by(teacher.patch_size)} pixels and the encoder of {by(patch_size)}: take a "
            "teacher with the encoder's patches, or set target.resize=True."
        )


def _renormalisation(
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    teacher_mean: Sequence[float] | None,
    teacher_std: Sequence[float] | None,
) -> tuple[Tensor, Tensor]:
    """Return scale and shift (C, 1, 1) that turn images normalised by the first pair into those of the second."""
    if teacher_mean is None and teacher_std is None:
        return torch.ones(1, 1, 1), torch.zeros(1, 1, 1)
    given = [values for values in (mean, std, teacher_mean, teacher_std) if values is not None]
    if len(given) < 4 or len({len(values) for values in given}) > 1:
        raise UsageError(
            f"The images have mean {mean} and std {std}, the teacher wants {teacher_mean} and {teacher_std}: give both "
            "of the teacher's, one number for each channel, or neither."
        )
    check_deviations(given[3], "the teacher (teacher_std)")
    own_mean, own_std, its_mean, its_std = (torch.tensor(v, dtype=torch.float32).view(-1, 1, 1) for v in given)
    return own_std / its_std, (own_mean - its_mean) / its_std
