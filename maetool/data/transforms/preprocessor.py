"""From the batch that the loader gives to normalised images on the device."""

from collections.abc import Mapping, Sequence
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
_ON_HOST = ("mask", "weight", "content", "original_size")  # what is read: nobody waits for a device there
ONLY = "image"  # what images are called that come as one tensor


Means = Sequence[float] | Mapping[str, Sequence[float]] | None


@MODELS.register_module()
class ImagePreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device and normalises it there, once.

    `inputs` are a tensor, or a mapping of tensors by name: views of a sample, or streams. Each is normalised, but for
    those that have no means: ids of codes, int64, which stay as they are.

    Where `inputs` are what `ResizeOnDevice` makes, the rest of it is done first.

    In training on a CPU the images lie in memory that the next batch is written into, because fresh memory takes longer
    than the arithmetic: they are valid until then.

    Args:
        mean, std: one number for each channel, in the units of the stored values (0 to 255 for photographs); or a
            mapping from the names in `inputs` to such numbers, where they differ or some are ids. None, all are ids.
        in_chans: C, or a mapping of names to it; the encoder's when it is left out.

    Raises:
        UsageError: another number of means or deviations than channels, or a deviation that is not positive.
    """

    def __init__(
        self,
        mean: Means = IMAGENET_MEAN,
        std: Means = IMAGENET_STD,
        in_chans: Count | Mapping[str, Count] | None = None,
    ) -> None:
        super().__init__(non_blocking=True)
        self.by_name = mean is None or isinstance(mean, Mapping)
        means, stds = map(_by_name, (mean, std))
        if means.keys() != stds.keys():
            raise UsageError(
                f"data_preprocessor gives means of {', '.join(means) or 'nothing'} and deviations of "
                f"{', '.join(stds) or 'nothing'}: give both for the same names, or one list of each for all."
            )
        self._places = {name: number for number, name in enumerate(means)}
        for name in means:
            _check_numbers(name, means[name], stds[name], in_chans)
            self._keep("mean", name, means[name])
            self._keep("std", name, stds[name])
        self._kept: dict[str, Tensor] = {}

    def _keep(self, kind: str, name: str, numbers: Sequence[float]) -> None:
        # Values, which the parts are told even on the meta device.
        values = torch.tensor(numbers, dtype=torch.float32, device="cpu").view(-1, 1, 1)
        self.register_buffer(self._buffer(kind, name), values, persistent=False)

    def _buffer(self, kind: str, name: str) -> str:
        return f"{kind}_{self._places[name]}" if self.by_name else kind  # a name may have dots, which no buffer may

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return `images`, float32 (B, C, *size) as `inputs` are, and `data_samples`, the rest of the batch.

        `inputs` are series, pictures or clips, their channels along axis 1, or ids of any shape, or a mapping of names
        to these, of which `images` are then a mapping too.

        Raises:
            UsageError: images of another number of channels, a name without means, or images that are not stacked.
        """
        data = {name: value if name in _ON_HOST else self.cast_data(value) for name, value in data.items()}
        inputs = data["inputs"]
        if isinstance(inputs, Mapping):
            from .on_device import finish_on_device, is_for_device  # here, because most batches are of tensors

            inputs = finish_on_device(inputs) if is_for_device(inputs) else inputs
        if isinstance(inputs, Mapping) and inputs:
            images = {name: self._normalised(name, values, training) for name, values in inputs.items()}
        else:
            images = self._normalised(ONLY, inputs, training)
        return {"images": images, "data_samples": {name: v for name, v in data.items() if name != "inputs"}}

    def _normalised(self, name: str, inputs: Any, training: bool) -> Tensor:
        if not isinstance(inputs, Tensor):
            raise UsageError(
                f"The loader gives a {type(inputs).__name__} of images, but the model takes one tensor, or a dict of "
                "tensors: leave out the loader's collate_fn, or use one that stacks, such as default_collate."
            )
        if self._are_ids(name, inputs):
            return inputs
        mean, std = self._numbers(name)  # (C, 1, 1)
        if inputs.ndim < 3 or inputs.shape[1] != len(mean):
            ids = " Ids of codes have no means: set both to None." if inputs.dtype == torch.int64 else ""
            raise UsageError(
                f"The loader gives images{_called(name)} of {inputs.shape[1] if inputs.ndim > 2 else 'no'} channels, "
                f"but the model takes {len(mean)}: set encoder.in_chans and the means and deviations of "
                "data_preprocessor, or let the dataset put the channels first, so that they are axis 1 of the batch, "
                f"{tuple(inputs.shape)}.{ids}"
            )
        mean, std = along_channels(mean, inputs), along_channels(std, inputs)
        return self._memory(name, inputs, training).copy_(inputs).sub_(mean).div_(std)

    def _are_ids(self, name: str, inputs: Tensor) -> bool:
        return self.by_name and name not in self._places and inputs.dtype == torch.int64

    def _numbers(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the mean and the deviation of what `inputs` call so, each (C, 1, 1)."""
        if self.by_name and name not in self._places:
            raise UsageError(
                f"data_preprocessor has means of {', '.join(self._places) or 'nothing'}, but gets images"
                f"{_called(name)} that are no ids (int64): give means and deviations under the names of the images, "
                "or one list of each for all."
            )
        mean, std = (getattr(self, self._buffer(kind, name)) for kind in ("mean", "std"))
        return mean, std

    def statistics(self) -> dict[str, dict[str, tuple[float, ...]]]:
        """Return `mean` and `std` of each name in `inputs` that has them; {} where they are the same for all."""
        names = self._places if self.by_name else ()
        kinds = {name: zip(("mean", "std"), self._numbers(name), strict=True) for name in names}
        return {name: {kind: tuple(v.flatten().tolist()) for kind, v in own} for name, own in kinds.items()}

    def _memory(self, name: str, inputs: Tensor, training: bool) -> Tensor:
        if inputs.device.type != "cpu" or not training:  # other devices keep freed memory by themselves
            return torch.empty_like(inputs, dtype=torch.float32, memory_format=torch.contiguous_format)
        if name not in self._kept or self._kept[name].shape != inputs.shape:
            self._kept[name] = torch.empty(inputs.shape)
        return self._kept[name]

    def denormalise(self, images: Any, name: str = ONLY) -> Any:
        """Return normalised images in the units of the stored values: the inverse of `forward`.

        Args:
            images: (B, C, *size), or a mapping of names to such tensors; ids of codes stay as they are.
            name: which of the mapping a single tensor is, where means differ between names.

        Raises:
            UsageError: images of another number of channels, or a name without means.
        """
        if isinstance(images, Mapping):
            return {name: self.denormalise(values, name) for name, values in images.items()}
        if self._are_ids(name, images):
            return images
        mean, std = self._numbers(name)
        return images * along_channels(std, images) + along_channels(mean, images)


def _by_name(numbers: Means) -> Mapping[str, Sequence[float]]:
    if numbers is None or isinstance(numbers, Mapping):
        return numbers or {}
    return {ONLY: numbers}


def _check_numbers(name: str, mean: Sequence[float], std: Sequence[float], in_chans: Any) -> None:
    channels = (in_chans.get(name) if isinstance(in_chans, Mapping) else in_chans) or len(mean)
    if not len(mean) == len(std) == channels:
        raise UsageError(
            f"The images{_called(name)} have {channels} channels, but data_preprocessor gives {len(mean)} means and "
            f"{len(std)} standard deviations: give one of each for every channel."
        )
    check_deviations(std, "data_preprocessor")


def _called(name: str) -> str:
    return "" if name == ONLY else f" {name!r}"
