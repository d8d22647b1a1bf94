"""From the batch that the loader gives to normalised images on the device."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from maetool.annotations import Count
from maetool.errors import UsageError
from maetool.ops.stats import along_channels, check_deviations
from maetool.registry import MODELS

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@MODELS.register_module()
class ImagePreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device and normalises it there, once.

    In training on a CPU the images lie in memory that the next batch is written into, because fresh memory takes longer
    than the arithmetic: they are valid until then.

    Args:
        mean, std: one number for each channel, in the units of the stored values (0 to 255 for photographs).
        in_chans: C; the encoder's when it is left out.

    Raises:
        UsageError: another number of means or deviations than channels, or a deviation that is not positive.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        in_chans: Count | None = None,
    ) -> None:
        super().__init__(non_blocking=True)
        channels = in_chans or len(mean)
        if not len(mean) == len(std) == channels:
            raise UsageError(
                f"The images have {channels} channels, but data_preprocessor gives {len(mean)} means and {len(std)} "
                "standard deviations: give one of each for every channel."
            )
        check_deviations(std, "data_preprocessor")
        numbers = {"dtype": torch.float32, "device": "cpu"}  # values, which the parts are told even on the meta device
        self.register_buffer("mean", torch.tensor(mean, **numbers).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, **numbers).view(-1, 1, 1), persistent=False)
        self._kept = torch.empty(0)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return `images`, float32 (B, C, *size) as `inputs` are, and `data_samples`, the rest of the batch.

        `inputs` are series, pictures or clips, their channels along axis 1.

        Raises:
            UsageError: images of another number of channels, or images that are not stacked.
        """
        data = self.cast_data(data)
        inputs = data["inputs"]  # (B, C, *size)
        if not isinstance(inputs, Tensor):
            raise UsageError(
                f"The loader gives a {type(inputs).__name__} of images, but the model takes one tensor: leave out the "
                "loader's collate_fn, or take one that stacks, such as default_collate."
            )
        if inputs.ndim < 3 or inputs.shape[1] != len(self.mean):
            raise UsageError(
                f"The loader gives images of {inputs.shape[1] if inputs.ndim > 2 else 'no'} channels, but the model "
                f"takes {len(self.mean)}: set encoder.in_chans and the means and deviations of data_preprocessor, or "
                f"let the dataset put the channels first, so that they are axis 1 of the batch, {tuple(inputs.shape)}."
            )
        mean, std = along_channels(self.mean, inputs), along_channels(self.std, inputs)
        images = self._memory(inputs, training).copy_(inputs).sub_(mean).div_(std)
        return {"images": images, "data_samples": {name: v for name, v in data.items() if name != "inputs"}}

    def _memory(self, inputs: Tensor, training: bool) -> Tensor:
        if inputs.device.type != "cpu" or not training:  # other devices keep freed memory by themselves
            return torch.empty_like(inputs, dtype=torch.float32, memory_format=torch.contiguous_format)
        if self._kept.shape != inputs.shape:
            self._kept = torch.empty(inputs.shape)
        return self._kept

    def denormalise(self, images: Tensor) -> Tensor:
        """Return normalised images (B, C, *size) in the units of the stored values: the inverse of `forward`.

        Raises:
            UsageError: images of another number of channels.
        """
        return images * along_channels(self.std, images) + along_channels(self.mean, images)
