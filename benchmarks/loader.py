"""What loading costs: each stage, whole loaders side by side on one core, and what a worker can hand over."""

import io
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms
from torchvision.transforms import v2

from maetool.data import (
    ImageFolderDataset,
    RandomHorizontalFlip,
    RandomResizedCrop,
    SampleKey,
    ShardDataset,
    collate_samples,
)
from maetool.data.codecs.encoded import EncodedImage
from maetool.data.codecs.images import read_bytes
from maetool.data.keys import keyed_rng
from maetool.data.prepare.prepare import Recipe, prepare
from maetool.data.sources.file_index import index_files

from . import transport
from .photos import write_photos
from .timing import measure, use_up

SIDE, BATCH, CROPS = 224, 64, 4
PUBLISHED = "published MAE (Pillow, torchvision v1, float)"
_SIZES = {"500 x 375": (375, 500), "2048 x 1536": (1536, 2048)}
_SCALE, _MEAN, _STD = (0.2, 1.0), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run(data: str | None, count: int, rounds: int) -> tuple[str, dict[str, Any]]:
    """Measure decoding, random resized crops of 224 pixels and flips, in one worker process with one thread.

    Args:
        data: folder of photographs; without one, some are made at two sizes.
        count: photographs of a round; an eighth of it of the large ones.
        rounds: interleaved rounds.
    """
    report, figures = [], {}
    with TemporaryDirectory() as temporary:
        folders = {"your photographs": Path(data)} if data else {}
        for name, size in () if data else _SIZES.items():
            folders[name] = Path(temporary, name)
            write_photos(folders[name], count if size[0] < 1000 else max(1, count // 8), size)
        for name, folder in folders.items():
            shards = Path(temporary, "shards", name)
            prepare(str(folder), str(shards), Recipe(), 1, lambda done: None)
            measured = _in_worker(_Loaders(str(folder), str(shards), count, rounds))
            measured["seconds of an image, in batches"] = _in_batches(str(folder), str(shards), count, rounds)
            report.append(_describe(name, measured))
            figures[name] = measured
    report.append(transport.describe(measured := transport.rates(rounds)))
    return "\n\n".join(report), {**figures, "transport": measured}


class _Loaders(Dataset):
    """A dataset of one sample, which is the figures: so they are measured where loading happens, in a worker."""

    def __init__(self, folder: str, shards: str, count: int, rounds: int) -> None:
        self.folder, self.shards, self.count, self.rounds = folder, shards, count, rounds

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        paths, loaders = _loaders(self.folder, self.shards, self.count)
        number = len(paths)
        return {
            "seconds of an image": _of_an_image(
                {name: _each(load, number) for name, load in loaders.items()}, number, self.rounds
            ),
            "stages": _of_an_image(
                {name: _each(stage, number) for name, stage in _stages(paths).items()}, number, self.rounds
            ),
            "error": _error(self.folder, min(number, 100)),
            "images": number,
        }


class _Images(Dataset):
    """What one loader makes of the first photographs of a folder."""

    def __init__(self, name: str, folder: str, shards: str, number: int) -> None:
        self.name, self.folder, self.shards, self.number = name, folder, shards, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Any:
        return self._load(index)

    @cached_property
    def _load(self) -> Callable[[int], Any]:
        return _loaders(self.folder, self.shards, self.number)[1][self.name]


def _in_batches(folder: str, shards: str, count: int, rounds: int) -> dict[str, list[float]]:
    """Return seconds of an image of loaders with one worker process, until their batches are in this one."""
    paths, names = _loaders(folder, shards, count)
    loaders = {
        name: DataLoader(
            _Images(name, folder, shards, len(paths)),
            BATCH // _crops(name),
            num_workers=1,
            persistent_workers=True,
            collate_fn=_collate_crops if name.startswith("maetool") else default_collate,
        )
        for name in names
    }
    return _of_an_image({name: partial(use_up, loader) for name, loader in loaders.items()}, len(paths), rounds)


def _collate_crops(samples: list[Any]) -> Any:
    return collate_samples([crop for sample in samples for crop in (sample if isinstance(sample, list) else [sample])])


def _of_an_image(cases: dict[str, Callable[[], None]], number: int, rounds: int) -> dict[str, list[float]]:
    seconds = measure(cases, rounds)
    return {name: [value / number / _crops(name) for value in values] for name, values in seconds.items()}


def _loaders(folder: str, shards: str, count: int) -> tuple[list[str], dict[str, Callable[[int], Any]]]:
    """Return the paths of the first `count` photographs, and what each loader makes of one."""
    cv2.setNumThreads(0)
    files = index_files(folder)
    paths = [files.path(i) for i in range(min(count, len(files)))]
    return paths, {**_peers(paths), **_ours(folder, shards)}


def _in_worker(dataset: Dataset) -> dict[str, Any]:
    return next(iter(DataLoader(dataset, batch_size=None, num_workers=1)))


def _crops(name: str) -> int:
    return CROPS if "crops" in name else 1


def _each(use: Callable[[int], Any], number: int) -> Callable[[], None]:
    def all_of_them() -> None:
        for i in range(number):
            use(i)

    return all_of_them


def _open(path: str) -> Image.Image:
    with open(path, "rb") as file:
        return Image.open(file).convert("RGB")


def _peers(paths: Sequence[str]) -> dict[str, Callable[[int], Any]]:
    bicubic = transforms.InterpolationMode.BICUBIC
    pipelines = {
        PUBLISHED: transforms.Compose(
            [
                transforms.RandomResizedCrop(SIDE, scale=_SCALE, interpolation=bicubic),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(_MEAN, _STD),
            ]
        ),
        "torchvision v2 on tensors (uint8)": v2.Compose(
            [v2.PILToTensor(), v2.RandomResizedCrop(SIDE, _SCALE, interpolation=bicubic), v2.RandomHorizontalFlip()]
        ),
    }
    if find_spec("timm"):
        from timm.data import create_transform

        pipelines["timm create_transform (float)"] = create_transform(
            SIDE, is_training=True, scale=_SCALE, interpolation="bicubic", color_jitter=None
        )
    if find_spec("lightly"):
        from lightly.transforms import MAETransform

        pipelines["lightly MAETransform (float)"] = MAETransform(SIDE)
    return {name: lambda i, change=change: change(_open(paths[i])) for name, change in pipelines.items()}


def _ours(folder: str, shards: str) -> dict[str, Callable[[int], Any]]:
    pipeline = [RandomResizedCrop(SIDE, _SCALE), RandomHorizontalFlip()]
    data = {
        "maetool": ImageFolderDataset(folder, pipeline=pipeline),
        "maetool, Pillow backend": ImageFolderDataset(folder, pipeline=pipeline, backend="pillow"),
    }
    if find_spec("torchcodec"):
        data["maetool, torchcodec backend"] = ImageFolderDataset(folder, pipeline=pipeline, backend="torchcodec")
    data["maetool, prepared shards"] = prepared = ShardDataset(shards, pipeline=pipeline)
    cases = {name: lambda i, d=d: d[SampleKey(i % len(d), i)] for name, d in data.items()}
    for name, d in (("maetool", data["maetool"]), ("maetool, prepared shards", prepared)):
        cases[f"{name}, {CROPS} crops of a decode"] = lambda i, d=d: d.__getitems__(
            [SampleKey(i % len(d), CROPS * i + crop) for crop in range(CROPS)]
        )
    return cases


def _stages(paths: Sequence[str]) -> dict[str, Callable[[int], Any]]:
    files = [Path(path).read_bytes() for path in paths]
    crop, flip = RandomResizedCrop(SIDE, _SCALE), RandomHorizontalFlip()
    kept = EncodedImage(files[0], paths[0])
    kept.pixels()
    kept.shared = True
    small = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)

    def seed(i: int) -> None:
        with keyed_rng(i, torch_alone=True):
            pass

    return {
        "read": lambda i: read_bytes(paths[i]),
        "decode, whole, Pillow": lambda i: Image.open(io.BytesIO(files[i])).convert("RGB"),
        "decode, whole": lambda i: EncodedImage(files[i], paths[i]).pixels(),
        "decode, crop and resize": lambda i: crop(EncodedImage(files[i], paths[i])),
        "crop and resize of what is decoded": lambda i: crop(kept),
        "draw the box": lambda i: crop.draw_box(*kept.size),
        "seed the generator": seed,
        "flip": lambda i: flip(small),
    }


def _error(folder: str, number: int) -> dict[str, float]:
    """Return the mean absolute error against the published pipeline with the same boxes, in grey levels of 255."""
    pipeline = [RandomResizedCrop(SIDE, _SCALE), RandomHorizontalFlip()]
    own, published = (ImageFolderDataset(folder, pipeline=pipeline, backend=name) for name in ("cv2", "pillow"))
    errors = []
    for i in range(number):
        a, b = (data[SampleKey(i, i)]["inputs"].numpy().astype(np.float32) for data in (own, published))
        errors.append(float(np.abs(a - b).mean()))
    return {"mean": sum(errors) / number, "largest of an image": max(errors)}


def _describe(name: str, figures: dict[str, Any]) -> str:
    one_by_one, batched, error = (
        figures[k] for k in ("seconds of an image", "seconds of an image, in batches", "error")
    )
    title = f"{'images/s':>9} {'lowest':>7} {'ratio':>6}"
    lines = [
        f"{name}, {figures['images']} photographs, one core",
        f"{'loader':<48} {'one by one':>24} {f'in batches of {BATCH}':>28}",
        f"{'':<48} {title}     {title}",
    ]
    for case in one_by_one:
        lines.append(f"{case:<48} {_rates(one_by_one, case)}     {_rates(batched, case)}")
    lines += ["", f"{'stage':<48} {'us':>9}"]
    lines += [f"{stage:<48} {1e6 * median(values):>9.1f}" for stage, values in figures["stages"].items()]
    lines.append(
        f"\nAgainst the published pipeline with the same boxes: mean absolute error {error['mean']:.3f} of 255, "
        f"{error['largest of an image']:.2f} for the worst image."
    )
    return "\n".join(lines)


def _rates(seconds: dict[str, list[float]], case: str) -> str:
    values = seconds[case]
    ratio = median(a / b for a, b in zip(seconds[PUBLISHED], values, strict=True))
    return f"{1 / median(values):>9.0f} {1 / max(values):>7.0f} {ratio:>6.2f}"
