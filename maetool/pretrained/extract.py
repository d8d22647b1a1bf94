"""Extracts the features of a user's images and writes them to a file."""

import codecs
import csv
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.dist import is_main_process
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from maetool.compat import is_installed, usable_cores
from maetool.config.user_data import all_images
from maetool.data import KeyedSampler, collate_samples
from maetool.data.transforms.build import build_transform
from maetool.data.workers import ignore_signals_in_workers
from maetool.errors import UsageError
from maetool.evaluation import Features, collect_features
from maetool.evaluation.precision import Precision, evaluated_in
from maetool.messages import plural, print_log
from maetool.protocols import ModelLike, NamedImages
from maetool.registry import DATASETS
from maetool.weights.checksums import CHECKSUM, UNSEALED, sealed
from maetool.writing import check_file, write_file

from .frozen import features_of
from .model import picture_shape_of
from .reading import of_another_unit, read_for

FORMATS = (".npz", ".parquet", ".csv")


def build_for(model: ModelLike, place: Mapping[str, Any], size: Sequence[int] | None = None) -> NamedImages:
    """Build a dataset of images, resized and centre-cropped as in validation.

    Args:
        model: a model with an `encoder`.
        place: the dataset's arguments that locate the images.
        size: (H, W) of the crop; None is the encoder's image size.

    Raises:
        UsageError: the encoder reads clips, ids or streams, and no pictures.
    """
    in_chans, *sides = picture_shape_of(model)
    pipeline = [{"type": "ResizeCenterCrop", "size": tuple(size or sides)}]
    return DATASETS.build({**place, "in_chans": in_chans, "pipeline": pipeline})


def build_whole(
    model: ModelLike, data: str, max_pixels: int | None = None, reading: Mapping[str, Any] | None = None
) -> NamedImages:
    """Build a dataset of all the user's images, with labels if all are in class folders.

    Args:
        model: a model with an `encoder`.
        data: folder, text list, table or folder of shards.
        max_pixels: largest number of pixels of an image; None for the default.
        reading: how files are read, see `maetool.pretrained.reading.reading_of`.
    """
    place = {**all_images(data), **({"max_pixels": max_pixels} if max_pixels else {}), **(reading or {})}
    try:
        return build_for(model, place)
    except UsageError:
        if not place.get("with_labels"):
            raise
        return build_for(model, {**place, "with_labels": False})  # the folders are not classes


def extract(
    model: ModelLike,
    dataset: NamedImages,
    features: Mapping[str, Features],
    title: str = "",
    batch_size: int = 64,
    workers: int | None = None,
    images: range | None = None,
    precision: Precision = "auto",
) -> dict[str, Tensor]:
    """Run `collect_features` on a dataset, on the best available device and with a progress bar.

    Several processes share the images; all of them return all features.

    Args:
        model: the result of `load_frozen`.
        dataset: the images.
        features: functions of (model, images), by name.
        title: title of the progress bar.
        batch_size: images per batch.
        workers: number of loader workers; by default the number of cores.
        images: the indices of those to read, by default all; without any, there is only an empty `index`.
        precision: see `maetool.evaluation.precision.evaluated_in`.

    Raises:
        UsageError: no image can be read, or they have another unit than those that the model learned from.
    """
    images = range(len(dataset)) if images is None else images
    if not images:
        return {"index": torch.zeros(0, dtype=torch.int64)}
    workers = min(usable_cores() if workers is None else workers, -(-len(images) // batch_size))
    sampler = KeyedSampler(dataset, shuffle=False)
    sampler.set_position(0, images.start)
    loader: DataLoader[Any] = DataLoader(
        cast(Dataset[Any], dataset),
        batch_size,
        sampler=_First(sampler, len(range(sampler.rank, len(images), sampler.world_size))),
        num_workers=workers,
        collate_fn=collate_samples,
        worker_init_fn=ignore_signals_in_workers(),
    )
    model, first = model.to(get_device()).eval(), is_main_process()
    with evaluated_in(model, precision):
        bar = tqdm(loader, desc=title or "images", unit="batch", dynamic_ncols=True, disable=None if first else True)
        return collect_features(model, _of_one_unit(model, dataset, bar), features)


def _of_one_unit(model: ModelLike, dataset: NamedImages, batches: Iterable[Any]) -> Iterator[Any]:
    """Yield batches; images of another unit than the training's are told, or refused if most of the first ones are."""
    odd, total, reason = 0, 0, ""
    for batch in batches:
        images = batch["inputs"]
        found = of_another_unit(model, images) if isinstance(images, Tensor) else []
        if found and not odd:
            reason = f"{dataset.name_of(int(batch['index'][found[0][0]]))} {found[0][1]}"
        if not total and 2 * len(found) > len(batch["index"]):
            raise UsageError(f"The images have another unit than those of the training: {reason}. Convert them to it.")
        odd, total = odd + len(found), total + len(batch["index"])
        yield batch
    if odd:
        print_log(
            f"{odd:,} of {plural(total, 'image')} have another unit than those of the training, so that their features "
            f"tell nothing: {reason}.",
            level=logging.WARNING,
        )


class _First:
    """The first samples of a sampler."""

    def __init__(self, sampler: KeyedSampler, number: int) -> None:
        self.sampler, self.number = sampler, number

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[Any]:
        return islice(self.sampler, self.number)


@torch.no_grad()
def features_of_files(
    model: ModelLike,
    files: Sequence[str | Path],
    pool: str | None = None,
    batch_size: int = 64,
    reading: Mapping[str, Any] | None = None,
) -> Tensor:
    """Return the features of image files, float32 (N, D) or (N, L, D), on the CPU, in their order.

    Args:
        model: the result of `load_frozen` or `load_encoder`.
        files: paths of images of any size.
        pool: see `features_of`.
        batch_size: images per batch.
        reading: how files are read, see `maetool.pretrained.reading.read_for`; by default as the training of a
            `FrozenEncoder` read its own.

    Raises:
        UsageError: no files, one that cannot be read, or an encoder of something else than pictures.
    """
    if isinstance(files, str | Path) or not files:
        raise UsageError(f"files is {files!r}, but must be a list of paths; `maetool extract_features` takes a folder.")
    crop = build_transform({"type": "ResizeCenterCrop", "size": picture_shape_of(model)[1:]})
    reading = getattr(model, "reading", None) if reading is None else reading
    device, compute, found = next(model.parameters()).device, features_of(model, pool), []
    for start in range(0, len(files), batch_size):
        images = torch.stack(
            [crop(read_for(model, path, reading=reading)) for path in files[start : start + batch_size]]
        )
        normalised = model.data_preprocessor({"inputs": images.to(device)})["images"]
        found.append(compute(model, normalised).float().cpu())
    return torch.cat(found)


def check_out(out: str) -> Path:
    """Return the path of a file of features, after checking its suffix.

    Args:
        out: the value of --out.

    Raises:
        UsageError: an unknown suffix, or pyarrow is needed and not installed.
    """
    path = Path(out)
    if path.suffix not in FORMATS:
        raise UsageError(f"--out is {out}, but must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
    if path.suffix == ".parquet" and not is_installed("pyarrow"):
        raise UsageError("Parquet files need pyarrow, which is not installed: pip install pyarrow, or choose .npz.")
    return check_file(path, "--out")


def write_features(path: Path, features: np.ndarray, names: Sequence[str], labels: Any, classes: Sequence[str]) -> None:
    """Write features with the paths of their images, and labels if there are any.

    `.npz` holds the arrays `features` float32 (N, D) or (N, L, D), `path` (N,), and with labels `label`, int64 (N,) or
    (N, K) of zeros and ones, and `classes` (K,). Parquet has a row for each image with the columns `path`, `features`,
    a list, and with labels `label`, the name of the class or a list of names. These two carry checksums: NumPy compares
    those of `.npz`; of Parquet, those of the values with `page_checksum_verification=True` of `pyarrow`, and that of
    the complete file in `maetool.weights.checksums.is_broken`. `.csv` has the columns `path`, with labels `label`, a
    class or classes with blanks between, and `feature_0` and so on, which read back as the same float32.

    Args:
        path: the file, see `check_out`.
        features: one array for each of N images.
        names: their paths.
        labels: a tensor (N,) or (N, K), or None.
        classes: names of the K classes.
    """
    write: Callable[..., None] = {".npz": _write_npz, ".parquet": _write_parquet, ".csv": _write_csv}[path.suffix]
    values = None if labels is None else labels.numpy().astype(np.int64)
    write_file(path, lambda file: write(file, features, list(names), values, list(classes)))


def _write_npz(file: IO[bytes], features: np.ndarray, names: list[str], labels: Any, classes: list[str]) -> None:
    more = {} if labels is None else {"label": labels, "classes": np.array(classes)}
    np.savez(file, features=features, path=np.array(names), **more)


def _write_parquet(file: IO[bytes], features: np.ndarray, names: list[str], labels: Any, classes: list[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = {"path": pyarrow.array(names), "features": pyarrow.array(features.reshape(len(names), -1).tolist())}
    columns["features"] = columns["features"].cast(pyarrow.list_(pyarrow.float32()))
    if labels is not None:
        columns["label"] = pyarrow.array(_named(labels, classes))
    # Page checksums do not cover the schema, in which a flipped bit changes a name or a type.
    table = pyarrow.table(columns).replace_schema_metadata({CHECKSUM: UNSEALED})
    content = io.BytesIO()
    parquet.write_table(table, content, write_page_checksum=True)
    file.write(sealed(content.getvalue()))


def _write_csv(file: IO[bytes], features: np.ndarray, names: list[str], labels: Any, classes: list[str]) -> None:
    numbers = features.reshape(len(names), -1).astype(np.float32)
    labelled = [] if labels is None else _named(labels, classes)
    cells = [[each if isinstance(each, str) else " ".join(each)] for each in labelled] or [[]] * len(names)
    table = csv.writer(codecs.getwriter("utf-8")(file, "surrogateescape"), lineterminator="\n")
    table.writerow(["path", *["label"] * bool(labelled), *(f"feature_{i}" for i in range(numbers.shape[1]))])
    table.writerows([name, *label, *row] for name, label, row in zip(names, cells, numbers, strict=True))


def _named(labels: np.ndarray, classes: list[str]) -> list[Any]:
    """Return the name of each image's class, or the names of its classes, from int64 (N,) or zeros and ones (N, K)."""
    if labels.ndim == 1:
        return [classes[label] for label in labels]
    return [[classes[i] for i in np.flatnonzero(row)] for row in labels]
