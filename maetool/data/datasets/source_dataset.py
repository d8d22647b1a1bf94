"""The images of any source: one dataset, and its names for folders, shards and tables."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from math import isnan, nan
from typing import Any, ClassVar

import torch
from torch import Tensor

from maetool.annotations import Count, hints_of
from maetool.data.codecs.encoded import decoded
from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.codecs.options import ReadOptions
from maetool.data.sources.base import Source
from maetool.errors import UsageError
from maetool.registry import DATASETS, SOURCES

from .base import ImageDataset
from .file_dataset import FileDataset
from .subsets import Subset


@DATASETS.register_module()
class SourceDataset(FileDataset):
    """The images of a source.

    A subclass `class MyDataset(SourceDataset, source=MySource)` takes the arguments of that source in the place of
    `source`, and values for further keywords that it fixes; so are `ImageFolderDataset`, `ShardDataset` and
    `CsvDataset` made.

    Args:
        source: where the bytes come from, a config of one of SOURCES.
        in_chans, pipeline, max_broken, backend, seed, max_pixels: see `FileDataset`.
        with_labels: give each sample the `label` that the source knows.
        limit, labels_fraction, labels_per_class, part: which images are used, see `Subset`, drawn with `seed`.
        nodata: value that marks pixels without data, where all channels hold it; "auto", NaN, infinity and what a
            GeoTIFF says itself, in any channel. They count nothing in the loss, and the encoder sees the mean of the
            others there. The samples then have a `weight`, which the transforms move with the image.
        exif, eight_bit: see `ReadOptions`.

    Raises:
        UsageError: what the source or `FileDataset` raises.
    """

    part_registries = {**ImageDataset.part_registries, "source": SOURCES}
    files_in: ClassVar[str | None] = None

    def __init_subclass__(cls, source: type[Source] | None = None, **fixed: Any) -> None:
        super().__init_subclass__()
        if source is not None:
            cls.files_in = source.files_in
            cls.__init__ = _constructor_over(source, fixed)

    def __init__(
        self,
        source: Mapping[str, Any] | Source,
        in_chans: Count = 3,
        pipeline: Sequence[Any] = (),
        with_labels: bool = False,
        max_broken: float = 0.1,
        limit: int | None = None,
        labels_fraction: float | None = None,
        labels_per_class: int | None = None,
        part: str = "all",
        nodata: float | str | None = None,
        backend: str = "cv2",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
        exif: bool = False,
        eight_bit: bool = False,
    ) -> None:
        self.nodata = checked_nodata(nodata)
        files = SOURCES.build(source)
        labels = files.labels() if with_labels else None
        labels = labels if labels and labels[0] else None  # of a table whose labels nobody asks for
        subset = Subset(part, limit, labels_fraction, labels_per_class, seed)
        options = ReadOptions(exif, eight_bit, gaps=self.nodata is not None and isnan(self.nodata))
        super().__init__(files, in_chans, pipeline, labels, subset, max_broken, backend, seed, max_pixels, options)

    def stored(self, index: int) -> dict[str, Any]:
        """Return what `FileDataset.stored` gives, and with `nodata` the `weight`, bool (H, W), and the image decoded.

        Raises:
            UnreadableImage: the file cannot be read.
        """
        sample = super().stored(index)
        if self.nodata is not None:
            sample["inputs"], sample["weight"] = fill_nodata(decoded(sample["inputs"]), self.nodata)
        return sample


def _constructor_over(source: type[Source], fixed: Mapping[str, Any]) -> Callable[..., None]:
    """Return an `__init__` with the arguments of a source and those of `SourceDataset`, but for the `fixed` ones.

    Its signature and annotations are explicit, as configs and their checks need them.
    """
    own = inspect.signature(source).parameters
    rest = [p for p in inspect.signature(SourceDataset).parameters.values() if p.name not in ("source", *fixed)]
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    # Keyword-only ones last, so that the others keep their places.
    signature = inspect.Signature(sorted([me, *own.values(), *rest], key=lambda p: p.kind))

    def __init__(*args: Any, **kwargs: Any) -> None:
        given = signature.bind(*args, **kwargs).arguments
        self, of_source = given.pop("self"), {name: given.pop(name) for name in own if name in given}
        SourceDataset.__init__(self, source(**of_source), **given, **fixed)

    __init__.__signature__ = signature
    __init__.__annotations__ = {**hints_of(SourceDataset), **hints_of(source)}
    return __init__


def checked_nodata(nodata: object) -> float | None:
    """Return the value that marks pixels without data, NaN for "auto".

    Args:
        nodata: a number, "auto" or None.

    Raises:
        UsageError: anything else.
    """
    if nodata is None or nodata == "auto":
        return None if nodata is None else nan
    if isinstance(nodata, bool) or not isinstance(nodata, int | float):
        raise UsageError(f'nodata is {nodata!r}: give a number, or "auto" for NaN and what a GeoTIFF says itself.')
    return float(nodata)


def fill_nodata(image: Tensor, nodata: float) -> tuple[Tensor, Tensor]:
    """Return the image (C, H, W), pixels of value `nodata` set to the mean, and where there is data, bool (H, W)."""
    valid = (image != nodata).any(dim=0)
    if image.is_floating_point():
        valid &= image.isfinite().all(dim=0)
    if not valid.any():
        return torch.zeros_like(image), valid
    mean = image[:, valid].float().mean(dim=1).to(image.dtype)
    return torch.where(valid, image, mean[:, None, None]), valid
