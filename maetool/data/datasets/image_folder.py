"""Images in a folder or in a list."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maetool.annotations import Count
from maetool.data.codecs.encoded import decoded
from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.sources.file_index import index_files
from maetool.registry import DATASETS

from .file_dataset import FileDataset
from .labels import labels_from_folders, refuse_empty_classes
from .subsets import Subset


@DATASETS.register_module()
class ImageFolderDataset(FileDataset):
    """The images below a folder, or those that a text list names.

    Args:
        root: folder of images at any depth, or text list with one path a line.
        in_chans, pipeline, max_broken, backend, seed, max_pixels: see `FileDataset`.
        with_labels: give each sample the `label` of its class, the first folder below the root in sorted order.
        limit, labels_fraction, labels_per_class, part: which images are used, see `Subset`, drawn with `seed`.
        nodata: value that marks pixels without data, where all channels hold it; they count nothing in the loss, and
            the encoder sees the mean of the others there. The samples then have a `weight`; the transforms get one
            channel more and must be geometric.
        index_cache: folder of the cached file list; by default in the user's cache folder.

    Raises:
        UsageError: no images, with labels images outside of class folders, one class only or a class without images,
            or what `FileDataset` raises.
    """

    def __init__(
        self,
        root: str | Path,
        in_chans: Count = 3,
        pipeline: Sequence[Any] = (),
        with_labels: bool = False,
        max_broken: float = 0.1,
        limit: int | None = None,
        labels_fraction: float | None = None,
        labels_per_class: int | None = None,
        part: str = "all",
        nodata: float | None = None,
        index_cache: str | Path | None = None,
        backend: str = "cv2",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.nodata = nodata
        files = index_files(root, index_cache)
        labels = labels_from_folders(files) if with_labels else None
        if labels and os.path.isdir(os.path.expanduser(root)):
            refuse_empty_classes(files.root, labels.classes)
        subset = Subset(part, limit, labels_fraction, labels_per_class, seed)
        super().__init__(files, in_chans, pipeline, labels, subset, max_broken, backend, seed, max_pixels)

    def stored(self, index: int) -> dict[str, Any]:
        """Return what `FileDataset.stored` gives, and with `nodata` the `weight`, bool (H, W), and the image decoded.

        Raises:
            UnreadableImage: the file cannot be read.
        """
        sample = super().stored(index)
        if self.nodata is not None:
            sample["inputs"], sample["weight"] = _fill_nodata(decoded(sample["inputs"]), self.nodata)
        return sample


def _fill_nodata(image: Tensor, nodata: float) -> tuple[Tensor, Tensor]:
    """Return the image (C, H, W), its gaps filled with the mean of its data, and where there is data, bool (H, W)."""
    valid = (image != nodata).any(dim=0)
    if not valid.any():
        return torch.zeros_like(image), valid
    mean = image[:, valid].float().mean(dim=1).to(image.dtype)
    return torch.where(valid, image, mean[:, None, None]), valid
