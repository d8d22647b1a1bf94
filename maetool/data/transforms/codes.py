"""Images as ids of codes."""

import torch
from torch import Tensor

from maetool.annotations import Size
from maetool.errors import UsageError
from maetool.ops.geometry import grid_of, to_size
from maetool.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ColourCodes:
    """The id of a code for each patch of an image: its mean colour, each channel rounded to one of a few levels.

    It stands in for a learnt tokenizer, such as MAGE's, where none is at hand. There are `levels ** C` codes: ids are
    numbers in base `levels`, the first channel leading. `inputs` become int64 (h, w), which `ImagePreprocessor`
    passes on where they have no means (`mean=None`). It is the last transform of a pipeline.

    Args:
        patch_size: sides of a patch in pixels, or one number for both.
        levels: levels of a channel, evenly spaced over 0..255; 2 to 256.

    Raises:
        UsageError: a size that is not positive, or levels out of range.
    """

    gives = "ids"
    draws_by_torch_alone = True

    def __init__(self, patch_size: Size = 4, levels: int = 4) -> None:
        self.patch_size = to_size(patch_size, "ColourCodes.patch_size")
        if type(levels) is not int or not 2 <= levels <= 256:
            raise UsageError(f"ColourCodes got levels={levels!r}: give the number of levels of a channel, 2 to 256.")
        self.levels = levels

    def __call__(self, image: Tensor) -> Tensor:
        """Return the ids, int64 (h, w), of an image (C, H, W).

        Raises:
            UsageError: other than an 8-bit picture, or one that does not divide into patches.
        """
        if image.dtype != torch.uint8 or image.ndim != 3 or self.levels ** len(image) > 2**62:
            raise UsageError(
                f"ColourCodes got {str(image.dtype).removeprefix('torch.')} of the shape {tuple(image.shape)}, but "
                "rounds 8-bit pictures (channels, height, width): take it out of the pipeline."
            )
        rows, columns = grid_of(image.shape[1:], self.patch_size)
        patches = image.unflatten(1, (rows, -1)).unflatten(3, (columns, -1))  # (C, h, p, w, q)
        means = patches.double().mean((2, 4))  # (C, h, w), in [0, 255]
        places = (means * self.levels / 256).long()
        weights = self.levels ** torch.arange(len(image) - 1, -1, -1)
        return (places * weights[:, None, None]).sum(0)
