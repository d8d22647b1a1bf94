"""Images whose labels are in a table, csv or Parquet."""

from maetool.data.sources.tables.table import TableSource
from maetool.data.sources.tables.table import (
    read_table as read_table,  # also the name that users of tables look for here
)
from maetool.registry import DATASETS

from .source_dataset import SourceDataset


@DATASETS.register_module()
class CsvDataset(SourceDataset, source=TableSource, with_labels=True):
    """The images that a table names, csv or Parquet, with its labels.

    The samples have `label`: an integer, or float32 (K,) of zeros and ones, or of numbers to predict,
    NaN where it is unknown.

    Args:
        csv_file, root, split, group_column, targets: see `TableSource`.
        uncertain, missing, label_columns, fold, labelled: see `TableSource`.
        in_chans, pipeline, max_broken, limit, backend, seed, max_pixels: see `FileDataset`.
        labels_fraction, labels_per_class, part: see `Subset`.
        nodata, exif, eight_bit: see `SourceDataset`.

    Raises:
        UsageError: a table of another form, a path that is not there, or what `FileDataset` raises.
    """
