"""Features of a teacher as target."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from maetool.annotations import Size
from maetool.errors import UsageError
from maetool.layers import find_even_layers
from maetool.layers.average import Schedule, check_momentum, copy_weights, momentum_at, move_average
from maetool.ops.geometry import rank_of, to_size
from maetool.ops.precision import wide
from maetool.registry import ENCODERS, TARGETS
from maetool.structures import MaskPlan, plan_of_predicted
from maetool.teachers.frozen import TeacherImages, frozen_encoder, size_ratio
from maetool.teachers.weights import load_encoder as load_encoder  # where users of 0.1 look for it

from .token_features import Normalisation, TokenFeatures

Sees = Literal["all", "visible", "predicted"]


class TeacherTarget(TokenFeatures):
    """Base of the targets that a teacher of their own, an encoder, gives; its features are P = D wide.

    The teacher learns nothing, draws nothing at random, and travels in the checkpoint. It runs in the precision of the
    model, because in float32 it would cost more than the model.

    Args:
        teacher: the encoder, a module.
        layers: whose tokens are averaged, 0 being what enters the first block and -1 what leaves the last; None takes
            what the encoder returns, after its final norm.
        normalise, predict_prefix: see `TokenFeatures`.
        sees: what the teacher is shown: "all", the whole image; "visible", what the encoder sees too, and its features
            are then those of visible patches only (DMAE); or "predicted", the patches to predict and no others (CAE).

    Raises:
        UsageError: an unknown choice, layers that there are not or that differ in their width or number of tokens, or
            a teacher that cannot see so.
    """

    def __init__(
        self,
        teacher: Any,
        layers: Sequence[int] | None,
        normalise: Normalisation,
        sees: Sees = "all",
        predict_prefix: bool = False,
    ) -> None:
        chooses = getattr(teacher, "sees", "visible") == "visible"
        if sees not in ("all", "visible", "predicted") or (sees != "all" and not chooses):
            raise UsageError(
                f'sees is {sees!r}, but must be "all"; or "visible" or "predicted", with a teacher whose own `sees` is '
                '"visible".'
            )
        super().__init__(teacher.embed_dim, teacher.num_prefix_tokens, normalise, predict_prefix)
        if sees == "visible":
            self.predicts = "visible"
        self.teacher = teacher.requires_grad_(False).eval()
        self.layers = None if layers is None else find_even_layers(teacher, layers, type(self).__name__)
        self.sees = sees

    def train(self, mode: bool = True) -> "TeacherTarget":
        """Return self; the teacher stays in evaluation mode whatever the model does."""
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, plan: MaskPlan) -> Tensor:
        """Return the float32 features (B, M, P) of images (B, C, H, W) at `plan.ids_predict`; see `TokenFeatures`."""
        images, shown = self.prepare(wide(images)), None if self.sees == "all" else plan
        shown = plan_of_predicted(plan) if self.sees == "predicted" else shown
        levels = [self.teacher(images, shown)] if self.layers is None else self.teacher(images, shown, self.layers)
        return self.average(levels, shown or plan, seen=shown is not None)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`: a teacher of the encoder's own kind and size."""
        layers = arguments["layers"]
        small: dict[str, Any] = {} if layers is None else {"layers": [min(layer, 2) for layer in layers]}
        if arguments["encoder"]:
            small |= {"teacher": arguments["encoder"], "checkpoint": None, "resize": ...}
        return small

    def prepare(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) as the teacher expects them."""
        return images


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

    def __init__(
        self,
        teacher: Any,
        grid: int | Sequence[int],
        patch_size: Size,
        checkpoint: str | None = None,
        made_by: str | None = None,
        layers: Sequence[int] | None = None,
        normalise: Normalisation = "token",
        sees: Sees = "all",
        resize: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        teacher_mean: Sequence[float] | None = None,
        teacher_std: Sequence[float] | None = None,
        predict_prefix: bool = False,
    ) -> None:
        patch_size = to_size(patch_size, "patch_size", rank_of(patch_size))
        teacher = frozen_encoder(teacher, grid, patch_size, checkpoint, made_by, resize)
        super().__init__(teacher, layers, normalise, sees, predict_prefix)
        self.patch_size, self.images = patch_size, TeacherImages(mean, std, teacher_mean, teacher_std)
        self.ratio = size_ratio(teacher, patch_size) if resize else None

    def prepare(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) at the size and with the statistics that the teacher was trained with."""
        return self.images(images, self.ratio)


@TARGETS.register_module()
class MomentumFeatureTarget(TeacherTarget):
    """Features of the moving average of the encoder that is being trained.

    It starts as a copy of the weights that training begins with, also those of `--init`, and moves after every
    optimiser step. The average travels in the checkpoint, and how fast it moves is a function of the progress, so that
    a resumed run goes on exactly. With `momentum=0.0, schedule="constant"` it is the encoder itself (CAE).
    Source: data2vec, section 3.2, and BYOL's schedule.

    Args:
        encoder: the encoder that is trained; the model hands it over.
        layers, normalise, predict_prefix, sees: see `TeacherTarget`.
        momentum: share of the average that stays in a step, at the beginning.
        schedule: how it rises to 1: by half a "cosine" (BYOL), "linear" (I-JEPA), or "constant", it does not.

    Raises:
        UsageError: a momentum outside [0, 1], an unknown schedule, or see `TeacherTarget`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        layers: Sequence[int] | None = None,
        normalise: Normalisation = "token",
        momentum: float = 0.996,
        predict_prefix: bool = False,
        schedule: Schedule = "cosine",
        sees: Sees = "all",
    ) -> None:
        check_momentum(momentum, schedule)
        super().__init__(deepcopy(encoder), layers, normalise, sees, predict_prefix)
        self.momentum, self.schedule = momentum, schedule

    def start(self, model: nn.Module) -> None:
        """Copy the weights of `model.encoder`; called once, when the weights that training begins with are in."""
        copy_weights(self.teacher, model.get_submodule("encoder"))

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Follow `model.encoder`; called after each optimiser step, `progress` of training in [0, 1] being over."""
        self.follow(model.get_submodule("encoder"), progress)

    def follow(self, encoder: nn.Module, progress: float) -> None:
        """Move the average towards the weights of `encoder`, `progress` of training in [0, 1] being over."""
        move_average(self.teacher, encoder, momentum_at(progress, self.momentum, self.schedule))
