"""Images in tar shards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maetool.annotations import Count
from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.sources.shards import ShardFiles, ShardTable
from maetool.registry import DATASETS

from .file_dataset import FileDataset
from .labels import labels_from_folders
from .subsets import Subset


@DATASETS.register_module()
class ShardDataset(FileDataset):
    """The images in a folder of shards that `maetool prepare_dataset` wrote.

    Args:
        root: the folder.
        in_chans, pipeline, with_labels, max_broken, limit: see `ImageFolderDataset`.
        labels_fraction, labels_per_class, part, backend, seed, max_pixels: see `ImageFolderDataset`.

    Raises:
        UsageError: shards that are missing, damaged or not complete, or what `FileDataset` raises.
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
        backend: str = "cv2",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        files = ShardFiles(ShardTable.load(root))
        labels = labels_from_folders(files) if with_labels else None
        subset = Subset(part, limit, labels_fraction, labels_per_class, seed)
        super().__init__(files, in_chans, pipeline, labels, subset, max_broken, backend, seed, max_pixels)
