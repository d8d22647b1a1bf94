"""Features that several machines extract, each a part, and their joining."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from maetool.data.datasets.file_dataset import FileDataset
from maetool.data.sources.fingerprint import fingerprint
from maetool.division import Part, check_part, complete_parts, differences
from maetool.errors import UsageError
from maetool.protocols import ModelLike, NamedImages
from maetool.weights.checksums import checksum_of
from maetool.writing import write_file


def settings_of(model: ModelLike, dataset: NamedImages, pool: str | None, batch_size: int) -> dict[str, Any]:
    """Return what features depend on, and so what all parts must agree in.

    The batch size is of it, because the order of sums inside a matrix product may depend on it.

    Args:
        model: the result of `load_frozen`.
        dataset: the images.
        pool: see `features_of`.
        batch_size: images per batch.
    """
    tensors = {**model.state_dict(), **dict(model.named_buffers())}  # also buffers that are not saved, mean and std
    weights = checksum_of({name: value.cpu() for name, value in tensors.items()}, repr(model)).rpartition(":")[2]
    files = cast(FileDataset, dataset)
    labels = {} if files.labels is None else {"label": files.labels}
    return {
        "weights": weights[:16],
        "pool": pool,
        "batch_size": batch_size,
        **fingerprint(files.files),
        "labels": checksum_of(labels, "\0".join(dataset.classes)).rpartition(":")[2][:16],
        "max_pixels": files.max_pixels,
    }


def path_of(out: Path, part: Part) -> Path:
    """Return the file of a part, beside `out`, the file that all parts become."""
    return part.file_beside(out.with_suffix(".npz"))


def is_done(out: Path, part: Part, settings: Mapping[str, Any]) -> bool:
    """Return whether a part of the file `out` was written with these settings."""
    try:
        found = _read(path_of(out, part))[0]
    except UsageError:  # absent or damaged: it is written anew
        return False
    return found.get("part") == str(part) and not differences(found, settings)


def write_part(out: Path, part: Part, settings: Mapping[str, Any], outputs: Mapping[str, Tensor]) -> Path:
    """Write the features of a part; returns its file, an `.npz`.

    Args:
        out: the file that all parts become.
        part: which one.
        settings: the result of `settings_of`.
        outputs: the result of `extract`.
    """
    path, facts = path_of(out, part), np.array(json.dumps({"part": str(part), **settings}))
    arrays: dict[str, Any] = {name: values.numpy() for name, values in outputs.items()}
    write_file(path, lambda file: np.savez(file, settings=facts, **arrays))
    return path


def read_parts(out: Path, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the features of all parts as `extract` returns those of all images.

    Args:
        out: the file that all parts become.
        settings: what the parts must have been made with.

    Raises:
        UsageError: a part is missing, damaged, or was made otherwise; or no image can be read.
    """
    read: list[dict[str, np.ndarray]] = []
    for part, path in complete_parts(out.with_suffix(".npz")).items():
        found, arrays = _read(path)
        check_part(part, path, found, settings)
        images = images_of(part, settings["images"], settings["batch_size"])
        if not set(arrays["index"].tolist()) <= set(images):
            raise _damaged(path, "it holds images of another part")
        read += [arrays] if len(arrays["index"]) else []
    if not read:
        raise UsageError(f"None of the {settings['images']} images can be read, so there are no features to join.")
    return {name: torch.from_numpy(np.concatenate([arrays[name] for arrays in read])) for name in read[0]}


def images_of(part: Part, images: int, batch_size: int) -> range:
    """Return the indices of the images of a part: complete batches of the run over all, so that features are equal.

    Args:
        part: of the work.
        images: number of all.
        batch_size: images of a batch.
    """
    batches = part.range_of(-(-images // batch_size))
    return range(min(batches.start * batch_size, images), min(batches.stop * batch_size, images))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as file:  # compares checksums; an array may be larger than 2 GB
            arrays = {name: file[name] for name in file.files}
        found = json.loads(str(arrays.pop("settings")))
        if not isinstance(found, dict) or len({len(values) for values in arrays.values()}) != 1:
            raise ValueError("arrays of different lengths")
    except Exception as error:  # BadZipFile, ValueError, KeyError, EOFError ...
        raise _damaged(path, error) from error
    return found, arrays


def _damaged(path: Path, reason: object) -> UsageError:
    return UsageError(f"{path} is damaged ({reason}): delete it, and run the command with its --part again.")
