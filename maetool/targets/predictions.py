"""What the average of the model itself predicts."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from maetool.annotations import Count
from maetool.errors import UsageError
from maetool.registry import TARGETS
from maetool.structures import MaskPlan


@TARGETS.register_module()
class TeacherPredictionTarget(nn.Module):
    """What the moving average of encoder and decoder predicts, for patches or for images as one.

    The model's teacher, a `MomentumTeacher`, averages the decoder too because of this target. Source: DINO, iBOT
    (logits of prototypes); MSN, MoCo (embeddings).

    Args:
        out_dim: P, also of the decoder.
        of: whose decoder is averaged: that of the task of this name, or of "main", the model itself.
        sees: what the teacher is shown: "all", the whole image, or "visible", what the plan leaves visible.
        model_teacher: the model's teacher; the model hands it over.

    Attributes:
        of_images: True, it may be for images too.

    Raises:
        UsageError: the model has no teacher that averages decoders, or an unknown choice.
    """

    debug_arguments: ClassVar = {"out_dim": 16}
    invertible = False
    rounds_with_autocast = True
    of_images = True

    def __init__(
        self,
        out_dim: Count,
        of: str = "main",
        sees: Literal["all", "visible"] = "all",
        model_teacher: Any = None,
    ) -> None:
        super().__init__()
        if not callable(getattr(model_teacher, "average_decoder", None)):
            raise UsageError(
                "TeacherPredictionTarget takes what model.teacher predicts, but there is none, or one that averages no "
                'decoder: use model.teacher=dict(type="MomentumTeacher").'
            )
        if sees not in ("all", "visible"):
            raise UsageError(f'sees is {sees!r}, but must be "all" or "visible".')
        model_teacher.average_decoder(of)
        self.out_dim, self.of, self.sees = out_dim, of, sees
        self.num_prefix_tokens = model_teacher.num_prefix_tokens
        self.needs = ("features",) if sees == "all" else ()
        self._teacher = (model_teacher,)  # in a tuple, where it is not registered a second time

    @torch.no_grad()
    def forward(self, images: Any, plan: MaskPlan, features: Any = None) -> Tensor:
        """Return the float32 predictions (B, M, P) at `plan.ids_predict`, or (B, 1, P) of images.

        Args:
            images: (B, C, *size), or a mapping of streams; read only if the teacher sees what is visible.
            plan: of the batch.
            features: the teacher's tokens (B, T + L, D) of each layer, of which the last is read.
        """
        teacher = self._teacher[0]
        latent = teacher.encoder(images, plan) if features is None else features[-1]
        return teacher.predictions(self.of, latent, plan).float()
