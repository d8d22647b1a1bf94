"""Predictions for many image files: in batches, read by several processes, shared by the processes of torchrun."""

import io
import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from maetool.compat import is_installed, usable_cores
from maetool.config.facts import task_of
from maetool.data.workers import ignore_signals_in_workers
from maetool.errors import UsageError
from maetool.protocols import ModelLike
from maetool.writing import check_file, check_folder, to_json, write_csv, write_file, write_text

from .model import picture_shape_of
from .predict import Prediction, predictor_of, table_of
from .predictors import Prepared, Trained
from .reading import read_for

TABLES = (".json", ".parquet", ".csv")
_LONGEST = 200  # bytes of the name of a picture, of the 255 that file systems allow
_NO_PICTURE = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Read:
    """An image file that a process of the loader has read.

    Attributes:
        number: its place among all files.
        inputs: what the model takes, see `Predictor.prepare`.
        image: (C, H, W) as stored, if it will be drawn.
        error: why the file cannot be read; empty if it can.
    """

    number: int
    inputs: Prepared | None
    image: Tensor | None
    error: str = ""


class _Sized(torch.nn.Module):
    """Stands for a model where only what its images are like is needed, in processes of the loader."""

    def __init__(self, model: ModelLike) -> None:
        super().__init__()
        self.image_shape = picture_shape_of(model)
        self.data_preprocessor = deepcopy(model.data_preprocessor)  # that of the model moves to its device


class _Files(Dataset[list[Read]]):
    """Image files in batches, of each process its share: which files are a batch does not depend on the processes."""

    def __init__(self, trained: Trained, paths: Sequence[str], batches: Sequence[range], draw: bool) -> None:
        self.predictor = predictor_of(type(trained.model))
        self.trained = replace(trained, model=cast(ModelLike, _Sized(trained.model)))
        self.paths, self.batches, self.draw = paths, batches, draw

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> list[Read]:
        return [self._read(number) for number in self.batches[index]]

    def _read(self, number: int) -> Read:
        trained = self.trained
        try:
            image = read_for(trained.model, self.paths[number], trained.max_pixels, trained.reading)
        except UsageError as error:
            return Read(number, None, None, str(error))
        return Read(number, self.predictor.prepare(trained, image), image if self.draw else None)


def predict_files(
    trained: Trained,
    paths: Sequence[str],
    batch_size: int = 16,
    workers: int | None = None,
    draw: bool = True,
    part: tuple[int, int] = (0, 1),
) -> Iterator[tuple[int, Prediction | str]]:
    """Predict image files on the best device, with a progress bar in a terminal.

    Args:
        trained: the model, see `load_trained`.
        paths: the files.
        batch_size: images that are computed at once, if their inputs have one shape.
        workers: processes that read; by default the number of cores, and none for a single batch.
        draw: draw the predictions; else `Prediction.picture` has no pixels.
        part: rank and number of the processes that share the files, batch by batch.

    Yields:
        The place of a file in `paths`, and its prediction, or why it cannot be read.
    """
    batches = [range(start, min(start + batch_size, len(paths))) for start in range(0, len(paths), batch_size)]
    files = _Files(trained, paths, batches[part[0] :: part[1]], draw)
    cores = usable_cores() if workers is None else workers
    loader: DataLoader[list[Read]] = DataLoader(
        files,
        batch_size=None,
        num_workers=min(cores, len(files)) if len(files) > 1 else 0,
        collate_fn=_as_it_is,
        worker_init_fn=ignore_signals_in_workers(),
    )
    trained = replace(trained, model=trained.model.to(get_device()))
    hidden = None if part[0] == 0 else True  # None hides the bar outside of a terminal
    for batch in tqdm(loader, desc="images", unit="batch", dynamic_ncols=True, disable=hidden):
        yield from _predictions(trained, paths, batch, draw)


def _as_it_is(batch: list[Read]) -> list[Read]:
    return batch


@torch.no_grad()
def _predictions(
    trained: Trained, paths: Sequence[str], batch: Sequence[Read], draw: bool
) -> Iterator[tuple[int, Prediction | str]]:
    predictor = predictor_of(type(trained.model))
    yield from ((each.number, each.error) for each in batch if each.inputs is None)
    readable = [each for each in batch if each.inputs is not None]
    for _, same in groupby(readable, key=lambda each: each.inputs and each.inputs["inputs"].shape):
        group = list(same)
        outputs = predictor.run(trained, [each.inputs for each in group if each.inputs is not None])
        for each, output in zip(group, outputs, strict=True):
            record = {"image": paths[each.number], **predictor.record(trained, output)}
            drawn = predictor.draw(trained, each.image, output) if draw and each.image is not None else _NO_PICTURE
            yield each.number, Prediction(drawn, record, predictor.maps(output) if draw else {})


def gathered(items: list[Any]) -> list[Any]:
    """Return the items of all processes in the first one; the others get an empty list."""
    if not distributed.is_initialized():
        return items
    first = distributed.get_rank() == 0
    lists: list[Any] | None = [None] * distributed.get_world_size() if first else None
    distributed.gather_object(items, lists)
    return [item for each in lists or [] for item in each]


def name_of_picture(number: int, path: str) -> str:
    """Return the name of the picture of a file, without an ending.

    Args:
        number: place of the file among all, because files of two folders may share a name.
        path: the file; a name so long that nothing could be added to it is cut.
    """
    stem = os.fsencode(Path(path).stem)[:_LONGEST]
    return f"{number:03d}_{stem.decode('utf-8', 'ignore')}"


def is_table(out: str | Path) -> bool:
    """Return whether a path names a file for the predictions alone, and not a folder for pictures, too.

    Args:
        out: the path.
    """
    return Path(out).suffix in TABLES and not Path(out).is_dir()


def check_out(out: str, trained: Trained) -> Path:
    """Return the path that predictions are written to, after checking it.

    Args:
        out: a folder, or a file as `is_table` says.
        trained: the model that predicts.

    Raises:
        UsageError: the file cannot hold them, or cannot be written, or pyarrow is needed and not installed.
    """
    if not is_table(out):
        return check_folder(out, "--out")
    path = Path(out)
    if path.suffix == ".csv" and task_of(trained.model) not in ("classification", "regression"):
        raise UsageError(f"{path} cannot hold pixels or objects, which are no table: name a file in .json or .parquet.")
    if path.suffix == ".parquet" and not is_installed("pyarrow"):
        raise UsageError(
            'Parquet needs pyarrow, which is not installed: pip install "maetool[parquet]", or name a file in .json.'
        )
    return check_file(path, "--out")


def write_table(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write records of predictions as JSON, as Parquet with the same columns, or the table of `table_of` as CSV.

    Args:
        path: ends in one of `TABLES`.
        records: `Prediction.record` of each image.

    Raises:
        UsageError: the disk is full, or the folder cannot be written.
    """
    if path.suffix == ".json":
        write_text(path, to_json(records))
    elif path.suffix == ".parquet":
        write_file(path, _parquet(records))
    else:
        write_csv(path, table_of(records))


def _parquet(records: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(records)), content)
    return content.getvalue()
