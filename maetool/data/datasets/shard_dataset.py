"""Images in tar shards."""

from maetool.data.sources.packed.shard_source import ShardSource
from maetool.registry import DATASETS

from .source_dataset import SourceDataset


@DATASETS.register_module()
class ShardDataset(SourceDataset, source=ShardSource):
    """The images in a folder of shards that `maetool prepare_dataset` wrote.

    Args:
        root: the folder.
        in_chans, pipeline, max_broken, backend, seed, max_pixels: see `FileDataset`.
        with_labels, limit, labels_fraction, labels_per_class, part, nodata, exif, eight_bit: see `ImageFolderDataset`.

    Raises:
        UsageError: shards that are missing, damaged or not complete, or what `FileDataset` raises.
    """
