"""The supported formats of weights: detection, and conversion to and from maetool's names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from maetool.errors import UsageError

from . import mae, openmmlab, swin, timm, torchvision, transformers, transformers_clip, transformers_dinov3

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Format:
    """A way to name the weights of an encoder.

    Attributes:
        about: the software that writes and reads it.
        to_ours: converts a state dict to maetool's names.
        from_ours: the inverse; tensors without a place are left out.
        recognise: whether a state dict is in this format.
        key: key of the state dict in a file; None if the file is the state dict.
    """

    about: str
    to_ours: Callable[[State], dict[str, Tensor]]
    from_ours: Callable[[State], dict[str, Tensor]]
    recognise: Callable[[State], bool]
    key: str | None = None


FORMATS = {
    "mae": Format(
        "facebookresearch/mae: pretraining, fine-tuned, linear probe",
        mae.from_published,
        mae.to_published,
        mae.is_published,
        "model",
    ),
    "timm": Format(
        "timm's VisionTransformer; read as mae, whose names are the same",
        timm.from_timm,
        timm.to_timm,
        lambda state: False,
    ),
    "transformers": Format(
        "Hugging Face ViTMAE and ViT",
        transformers.from_transformers,
        transformers.to_transformers,
        transformers.is_transformers,
    ),
    "torchvision": Format(
        "torchvision's VisionTransformer",
        torchvision.from_torchvision,
        torchvision.to_torchvision,
        torchvision.is_torchvision,
    ),
    "mmpretrain": Format(
        "mmpretrain's MAE and ViT classifiers, ColorMAE",
        openmmlab.from_mmpretrain,
        openmmlab.to_mmpretrain,
        openmmlab.is_mmpretrain,
        "state_dict",
    ),
    "mmseg": Format(
        "mmsegmentation's VisionTransformer",
        openmmlab.from_mmseg,
        openmmlab.to_mmseg,
        openmmlab.is_mmseg,
        "state_dict",
    ),
    "mmseg_mae": Format(
        "mmsegmentation's MAE backbone",
        openmmlab.from_mmseg_mae,
        openmmlab.to_mmseg_mae,
        openmmlab.is_mmseg_mae,
        "state_dict",
    ),
    "mmdet": Format(
        "mmdetection's ViTDet project",
        openmmlab.from_mmdet,
        openmmlab.to_mmdet,
        openmmlab.is_mmdet,
        "model",
    ),
}
# Those of other encoders than a plain ViT.
FAMILIES = {
    "transformers_dinov3": Format(
        "Hugging Face DINOv3",
        transformers_dinov3.from_transformers,
        transformers_dinov3.to_transformers,
        transformers_dinov3.is_transformers_dinov3,
    ),
    "transformers_swin": Format(
        "Hugging Face Swin",
        swin.from_transformers,
        swin.to_transformers,
        swin.is_transformers,
    ),
    "torchvision_swin": Format(
        "torchvision's SwinTransformer",
        swin.from_torchvision,
        swin.to_torchvision,
        swin.is_torchvision,
    ),
    "simmim": Format(
        "microsoft/SimMIM and microsoft/Swin-Transformer: Swin",
        swin.from_microsoft,
        swin.to_microsoft,
        swin.is_microsoft,
        "model",
    ),
    "mmpretrain_swin": Format(
        "mmpretrain's SwinTransformer and SimMIM",
        swin.from_mmpretrain,
        swin.to_mmpretrain,
        swin.is_mmpretrain,
        "state_dict",
    ),
}
ALL_FORMATS = {**FORMATS, **FAMILIES}
# Those that are read alone, as the encoder inside of a larger model.
_READ = {
    "transformers_clip": Format(
        "Hugging Face CLIP and SigLIP: the vision tower",
        transformers_clip.from_transformers,
        transformers_clip.to_transformers,
        transformers_clip.is_transformers_clip,
    ),
}
_KNOWN = {**ALL_FORMATS, **_READ}


def recognise(state: State, source: str = "the checkpoint") -> str | None:
    """Return the name of the format of a state dict; None if it is maetool's or unknown.

    Args:
        state: weights by name.
        source: what the message calls the file.

    Raises:
        UsageError: the names of two formats at once.
    """
    names = [name for name, each in _KNOWN.items() if each.recognise(state)]
    if len(names) > 1:
        raise UsageError(
            f"{source} holds names of {' and of '.join(names)}, so two models: pass a file with one of them alone."
        )
    return names[0] if names else None


def to_ours(state: State, source: str = "the checkpoint") -> dict[str, Tensor]:
    """Return a state dict of any format under maetool's names.

    Args:
        state: weights by name.
        source: what the message calls the file.

    Raises:
        UsageError: the names of two formats at once.
    """
    name = recognise(state, source)
    return dict(state) if name is None else _KNOWN[name].to_ours(state)


def left_out(state: State, name: str) -> list[str]:
    """Return maetool's names of the tensors that a format cannot hold: those that a round trip loses.

    Args:
        state: a state dict under maetool's names.
        name: name of the format.
    """
    there = ALL_FORMATS[name]
    back = there.to_ours(there.from_ours(state))
    return [key for key in state if key not in back]
