"""Images in a folder or in a list."""

from maetool.data.sources.folder import FolderSource
from maetool.registry import DATASETS

from .source_dataset import SourceDataset


@DATASETS.register_module()
class ImageFolderDataset(SourceDataset, source=FolderSource):
    """The images below a folder, or those that a text list names.

    Args:
        root, index_cache, split, fold: see `FolderSource`.
        in_chans, pipeline, max_broken, backend, seed, max_pixels: see `FileDataset`.
        with_labels: give each sample the `label` of its class, the first folder below the root in sorted order.
        limit, labels_fraction, labels_per_class, part, nodata, exif, eight_bit: see `SourceDataset`.

    Raises:
        UsageError: no images, with labels images outside of class folders, one class only or a class without images,
            or what `FileDataset` raises.
    """
