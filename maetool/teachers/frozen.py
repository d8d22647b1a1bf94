"""The teacher that never changes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.annotations import Size
from maetool.errors import UsageError
from maetool.ops.geometry import format_size, to_size
from maetool.ops.precision import wide
from maetool.ops.stats import along_channels, check_deviations
from maetool.registry import ENCODERS, TEACHERS
from maetool.weights.read import local_file

from .base import Teacher
from .weights import load_encoder as load_encoder


@TEACHERS.register_module()
class FrozenTeacher(Teacher):
    """Any encoder, with weights from a file, from timm, or as they are drawn, which never change.

    Args:
        teacher: config of an encoder, or the module.
        grid: (h, w) of the encoder that is trained, or one number.
        patch_size: (ph, pw) of the encoder that is trained, or one number.
        checkpoint: file with the teacher's weights: a checkpoint of ours, an exported encoder, or a published state
            dict with timm's names. Without one the teacher keeps the weights that it was built with.
        made_by: what makes the checkpoint, a command for example; named where the file is missing.
        layers: whose tokens are "features", see `Teacher`.
        resize: let the teacher see the images at another size, so that patches of another size make the same grid.
        mean, std: of each channel, how the images are normalised; the preprocessor's are filled in.
        teacher_mean, teacher_std: how the teacher expects them normalised, in the same units (0 to 255 for
            photographs). Without them it gets the images as they are.

    Raises:
        UsageError: an encoder of another grid or patch size, a file that is not its weights, or layers that there are
            not.
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
        resize: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        teacher_mean: Sequence[float] | None = None,
        teacher_std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(frozen_encoder(teacher, grid, patch_size, checkpoint, made_by, resize), layers)
        self.images = TeacherImages(mean, std, teacher_mean, teacher_std)
        self.ratio = size_ratio(self.encoder, patch_size) if resize else None

    def prepare(self, batch: Any) -> Any:
        """Return images (B, C, H, W) at the size and with the statistics that the teacher was trained with."""
        return self.images(batch, self.ratio)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`: of the kind and size of the encoder that is trained."""
        layers = arguments["layers"]
        small: dict[str, Any] = {} if layers is None else {"layers": [min(layer, 2) for layer in layers]}
        if arguments["encoder"]:
            small |= {"teacher": arguments["encoder"], "checkpoint": None, "resize": ...}
        return small


class TeacherImages(nn.Module):
    """Images as a teacher was trained to see them.

    Args:
        mean, std: of each channel, how the images are normalised.
        teacher_mean, teacher_std: how the teacher expects them, in the same units; without them they stay as they are.

    Raises:
        UsageError: some are missing, or they are of different numbers of channels.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        teacher_mean: Sequence[float] | None = None,
        teacher_std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        scale, shift = _renormalisation(mean, std, teacher_mean, teacher_std)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, images: Tensor, ratio: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """Return images (B, C, H, W), resized where a `ratio` is given: pixels before and after, for each axis."""
        images = wide(images) * along_channels(self.scale, images) + along_channels(self.shift, images)
        if ratio is None:
            return images
        size = [side // before * after for side, (before, after) in zip(images.shape[2:], ratio, strict=True)]
        if list(images.shape[2:]) == size:
            return images
        return functional.interpolate(images, size, mode="bilinear", antialias=True)


def frozen_encoder(
    encoder: Any,
    grid: int | Sequence[int],
    patch_size: Size,
    checkpoint: str | None = None,
    made_by: str | None = None,
    resize: bool = False,
) -> Any:
    """Build a teacher's encoder, with the weights of its file; see `FrozenTeacher`.

    Args:
        encoder: an encoder or its config.
        grid: patches along each axis of the encoder that is trained.
        patch_size: pixels along each axis of its patches.
        checkpoint: file with the teacher's weights; None leaves them as built.
        made_by: command that makes the file, for the message where it is missing.
        resize: images are resized for the teacher, so only the grids must be equal.

    Raises:
        UsageError: it does not fit the encoder that is trained, or its file cannot be read.
    """
    encoder = ENCODERS.build(encoder)
    rank = len(encoder.patch_size)
    check_patches(encoder, to_size(grid, "grid", rank), to_size(patch_size, "patch_size", rank), resize)
    if checkpoint is not None:
        check_made(checkpoint, made_by)
        load_encoder(encoder, checkpoint)
    return encoder


def size_ratio(encoder: Any, patch_size: Size) -> list[tuple[int, int]]:
    """Return for each axis the pixels of a patch of the trained encoder, and of the teacher's.

    Args:
        encoder: of the teacher.
        patch_size: pixels along each axis of a patch of the trained encoder.
    """
    patch_size = to_size(patch_size, "patch_size", len(encoder.patch_size))
    return list(zip(patch_size, encoder.patch_size, strict=True))


def check_made(checkpoint: str, made_by: str | None) -> None:
    """Check that the file of a teacher is there, if a command makes it.

    Args:
        checkpoint: path or address of the file.
        made_by: the command; None checks nothing.

    Raises:
        UsageError: there is no such file.
    """
    if made_by is not None and not local_file(checkpoint).exists():
        raise UsageError(
            f"There is no teacher {checkpoint}: make it with {made_by}, or name another as its `checkpoint`."
        )


def check_patches(teacher: Any, grid: tuple[int, ...], patch_size: tuple[int, ...], resize: bool) -> None:
    """Check that a teacher's patches lie as those of the encoder that is trained.

    Args:
        teacher: encoder of the teacher.
        grid: patches along each axis of the trained encoder.
        patch_size: pixels along each axis of its patches.
        resize: images are resized for the teacher, so only the grids must be equal.

    Raises:
        UsageError: they do not.
    """
    if resize and teacher.grid != grid:
        size = format_size(tuple(g * p for g, p in zip(grid, teacher.patch_size, strict=True)))
        raise UsageError(
            f"The teacher makes {format_size(teacher.grid)} patches of an image and the encoder {format_size(grid)}: "
            f"set img_size of the teacher's encoder to {size}."
        )
    if not resize and teacher.patch_size != patch_size:
        raise UsageError(
            f"The teacher has patches of {format_size(teacher.patch_size)} pixels and the encoder of "
            f"{format_size(patch_size)}: use a "
            "teacher with the encoder's patches, or set resize=True of the teacher."
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
    statistics = [values for values in (mean, std, teacher_mean, teacher_std) if values is not None]
    if len(statistics) < 4 or len({len(values) for values in statistics}) > 1:
        raise UsageError(
            f"The images have mean {mean} and std {std}, the teacher wants {teacher_mean} and {teacher_std}: give both "
            "of the teacher's, one number for each channel, or neither."
        )
    check_deviations(statistics[3], "the teacher (teacher_std)")
    image_mean, image_std, input_mean, input_std = (
        torch.tensor(v, dtype=torch.float32).view(-1, 1, 1) for v in statistics
    )
    return image_std / input_std, (image_mean - input_mean) / input_std
