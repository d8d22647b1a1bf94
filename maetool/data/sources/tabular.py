"""Images inside of tables: Hugging Face `datasets`, and any indexed data set of Python such as torchvision's."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.data.codecs.images import UnreadableImage
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from .base import Labels, Source, groups_by_name
from .extras import need
from .made import bytes_of
from .part_names import part_of
from .tables.unknown import refuse_measurements


class _RowSource(Source):
    """Images that are rows of something indexed; a subclass sets `rows` and writes `_image` and `labels`."""

    rows: Any

    def __len__(self) -> int:
        return len(self.rows)

    def relative(self, index: int) -> str:
        """Return the number of image `index`, with zeros before."""
        return f"{index:0{len(str(max(0, len(self) - 1)))}d}"

    def path(self, index: int) -> str:
        """Return what to call image `index` in a message."""
        return f"{self.root}[{index}]"

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return what to call image `index`, and its file, or a `.npy` file of its pixels.

        Raises:
            UnreadableImage: it cannot be read, or has more than `most` bytes.
        """
        path = self.path(index)
        try:
            image = self._image(index)
        except Exception as error:  # whatever the library raises for a row
            raise UnreadableImage(path, error or type(error).__name__) from error
        return path, bytes_of(image, path, most)

    def _image(self, index: int) -> Any:
        raise NotImplementedError


@SOURCES.register_module()
class HuggingFaceSource(_RowSource):
    """The images of a data set of Hugging Face's `datasets`: saved to disk, in parquet files, or by name.

    Args:
        name: folder that `save_to_disk` wrote, a Parquet file or a folder of such, whose names may tell their parts, or
            the name of a data set on the Hub, which is downloaded to the cache of `datasets` (HF_HOME), and read from
            there with HF_HUB_OFFLINE=1.
        split: which part of it, as `datasets` calls it.
        image: column of the images; None, the only one of images.
        label: column of the labels; None, the only one of class labels, or `label`.
        config: name of its configuration on the Hub.
        group_column: column that says what belongs together, such as patients, see `TableSource`.

    Raises:
        UsageError: datasets is not installed, there is no such data set, part or column.
    """

    files_in: ClassVar[str | None] = "name"

    def __init__(
        self,
        name: str | Path,
        split: str = "train",
        image: str | None = None,
        label: str | None = None,
        config: str | None = None,
        group_column: str | None = None,
    ) -> None:
        need("datasets", "HuggingFaceSource")
        self.root, self.split = str(name), split
        rows = _loaded(str(name), split, config)
        kinds = {column: type(kind).__name__ for column, kind in rows.features.items()}
        self.image = _column(self.root, kinds, image, ("Image",), ("image", "img"))
        self.label = label or next((c for c, kind in kinds.items() if kind == "ClassLabel"), "label")
        if kinds[self.image] == "Image":
            import datasets

            rows = rows.cast_column(self.image, datasets.Image(decode=False))  # the bytes, which are decoded here
        self.group_column = group_column
        self.all, self.rows = rows, rows.select_columns([self.image])

    def path(self, index: int) -> str:
        """Return what to call image `index` in a message: the set, the split and the row."""
        return f"{self.root}[{self.split}][{index}]"

    def _image(self, index: int) -> Any:
        return self.rows[index][self.image]

    def groups(self) -> Tensor | None:
        """Return the number of each image's group, int64 (N,), or None without `group_column`.

        Raises:
            UsageError: there is no such column.
        """
        if self.group_column is None:
            return None
        cells = self._column(self.group_column, "group_column")
        return groups_by_name(["" if cell is None else str(cell) for cell in cells])

    def _column(self, name: str, argument: str) -> list[Any]:
        if name not in self.all.column_names:
            columns = ", ".join(self.all.column_names)
            raise UsageError(f"{self.root} has no column {name}: set source.{argument} to one of {columns}.")
        return list(self.all[name])

    def labels(self) -> Labels:
        """Return the labels of the column.

        Raises:
            UsageError: there is no such column.
        """
        values = self._column(self.label, "label")
        names = getattr(self.all.features[self.label], "names", None)
        if not names:
            return _labels_of(self.root, values, self.label)
        without = [index for index, value in enumerate(values) if value is None or not 0 <= value < len(names)]
        if without:
            raise UsageError(
                f"{len(without)} of {len(self)} rows have no label in the column {self.label} (first "
                f"{self.path(without[0])}, {values[without[0]]}), as those of test parts: give another split or label."
            )
        return Labels(list(names), torch.tensor(values, dtype=torch.int64))


def _loaded(name: str, split: str, config: str | None) -> Any:
    import datasets

    try:
        if os.path.isdir(name) and any(Path(name, file).is_file() for file in ("state.json", "dataset_dict.json")):
            rows = datasets.load_from_disk(name)
            rows = rows[split] if isinstance(rows, Mapping) else rows
        elif os.path.isfile(name):
            rows = datasets.load_dataset("parquet", data_files={split: name}, split=split)
        else:
            rows = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # of the library: no such set, no such part, no network
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500].rstrip(".")
        raise UsageError(f"{name} cannot be loaded by datasets, split {split} ({reason}).") from error
    return rows


def splits_of(name: str) -> dict[str, str]:
    """Return the splits of `name`, a data set on the disk, by the part that each is, "train", "val" or "test".

    It is empty where there are not several of them, for training and for something else.

    Raises:
        UsageError: datasets is not installed, or cannot read it.
    """
    need("datasets", "HuggingFaceSource")
    import datasets

    if not os.path.isdir(name) or os.path.isfile(os.path.join(name, "state.json")):
        return {}
    try:
        if os.path.isfile(os.path.join(name, "dataset_dict.json")):
            names = json.loads(Path(name, "dataset_dict.json").read_text())["splits"]
        else:
            names = datasets.get_dataset_split_names(name)
    except Exception as error:
        raise UsageError(f"{name} cannot be read by datasets ({type(error).__name__}: {error}).") from error
    parts = {part: split for split in names if (part := part_of(split))}
    return parts if "train" in parts and len(parts) > 1 else {}


def _column(root: str, kinds: Mapping[str, str], chosen: str | None, types: Sequence[str], usual: Sequence[str]) -> str:
    candidates = [column for column, kind in kinds.items() if kind in types]
    candidates = candidates or [column for column in usual if column in kinds]
    if chosen in kinds or (chosen is None and len(candidates) == 1):
        return chosen or candidates[0]
    raise UsageError(
        f"{root} has the columns {', '.join(kinds)}, and {len(candidates)} of images: set source.image to one of them."
    )


@SOURCES.register_module()
class TorchvisionSource(_RowSource):
    """The images of a data set of torchvision, or of any class whose items are (image, label).

    Args:
        dataset: its name in `torchvision.datasets`, such as "CIFAR10", or a dotted path.
        arguments: what it is built with, such as `dict(root="data", train=True, download=True)`.

    Raises:
        UsageError: there is no such data set, or it cannot be built.
    """

    def __init__(self, dataset: str, arguments: Mapping[str, Any] | None = None) -> None:
        module, _, name = (dataset if "." in dataset else f"torchvision.datasets.{dataset}").rpartition(".")
        self.root = f"{name}({', '.join(f'{key}={value!r}' for key, value in (arguments or {}).items())})"
        try:
            self.rows = getattr(import_module(module), name)(**(arguments or {}))
        except Exception as error:  # of the library: no such set, no files, other arguments
            raise UsageError(f"{self.root} cannot be built ({type(error).__name__}: {error}).") from error

    def _image(self, index: int) -> Any:
        return self.rows[index][0]

    def labels(self) -> Labels:
        """Return the labels: `targets` or `labels` of the data set, or the second of each item.

        Raises:
            UsageError: they are no classes.
        """
        values = next(
            (v for n in ("targets", "labels", "_labels") if (v := getattr(self.rows, n, None)) is not None), None
        )
        values = [self.rows[index][1] for index in range(len(self))] if values is None else np.asarray(values).tolist()
        names = getattr(self.rows, "classes", None)
        if names and all(isinstance(value, int) and 0 <= value < len(names) for value in values):
            return Labels([str(name) for name in names], torch.tensor(values))
        return _labels_of(self.root, values)


def _labels_of(root: str, values: Sequence[Any], column: str = "label") -> Labels:
    """Return labels from numbers or words, whose sorted values are the classes."""
    refuse_measurements(root, [str(value) for value in values], column, readable=False)
    odd = next((value for value in values if not isinstance(value, int | str)), "")
    if odd != "":
        raise UsageError(f"{root} has the label {odd!r}: expected whole numbers or words.")
    classes = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    if len(classes) < 2:
        raise UsageError(f"{root} has {len(classes)} class: labels need two or more classes.")
    place = {value: label for label, value in enumerate(classes)}
    return Labels([str(value) for value in classes], torch.tensor([place[value] for value in values]))
