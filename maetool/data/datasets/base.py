"""What every image dataset shares: a sample is loaded, then augmented with randomness that belongs to its key."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from itertools import groupby
from typing import Any, ClassVar

import cv2
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from maetool.compat import keep_images_in_heap
from maetool.data.codecs.encoded import EncodedImage, decoded
from maetool.data.keys import SampleKey as SampleKey  # also the names that users of datasets look for here
from maetool.data.keys import keyed_rng as keyed_rng
from maetool.data.transforms.build import build_transform
from maetool.data.transforms.sample import Sample, as_sample, moved_with, one_image, plain, refusal, taken_by
from maetool.data.transforms.views import in_each_view
from maetool.errors import UsageError
from maetool.ops.random import sample_keys
from maetool.registry import TRANSFORMS

_IMAGES = (Tensor, EncodedImage)
DEBUG_SAMPLES = 8  # of a dataset in its small form, see docs/plugins.md


@cache
def _use_one_thread(process: int) -> None:
    """Keep a worker process to one thread, because there are as many of them as cores; once for each `process`."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class ImageDataset(Dataset):
    """Base of the image datasets; a subclass writes `__len__` and `load`.

    Args:
        pipeline: transforms, each a config or a callable: one of maetool, or of torchvision.transforms.v2,
            Albumentations, Kornia or MMCV by its dotted path, or any from an image (C, H, W) to an image (C, H, W), or
            to a dict of views or streams of it (see `maetool.data.transforms.views`).
        seed: seed of the augmentation where no sampler hands over a key. Then `dataset[index]` is always the same, but
            a loader gets new crops and masks in each pass, drawn from torch's generator.

    Attributes:
        classes: names of the K classes; empty without labels.
        labels: int64 (N,), or float32 (N, K) of zeros and ones where an image may have several; None without labels.
        collate: name of the function that makes a batch of samples, for a loader that names none.
    """

    part_registries = {"pipeline": TRANSFORMS}

    metainfo: dict[str, Any] = {}
    files_in: ClassVar[str | None] = None  # the argument that says where the files are, of a dataset that reads some

    collate = "collate_samples"
    moves: ClassVar[Collection[str]] = ()  # "maps" or "objects", which every transform must move with the image

    def __init__(self, pipeline: Sequence[Any] = (), seed: int = 0) -> None:
        keep_images_in_heap()
        self.transforms = [self.accepted(build_transform(transform)) for transform in pipeline]
        self.seed = seed
        self.classes: list[str] = []
        self.labels: Tensor | None = None

    def load(self, index: int) -> dict[str, Any]:
        """Return sample `index` as stored: `inputs`, a tensor (C, H, W), uint8 or float32, and for example `label`.

        With `weight`, bool (H, W), pixels that are False count nothing in the loss.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how a sample is loaded: write `load`.")

    def accepted(self, transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a transform of the pipeline, if it can change what a sample of this dataset holds.

        Raises:
            UsageError: it would change the image alone.
        """
        if left := set(self.moves).difference(taken_by(transform)):
            raise UsageError(refusal(transform, left))
        return transform

    def __getitem__(self, item: int | SampleKey) -> dict[str, Any]:
        """Return `load`'s sample with its transforms applied (`weight` becomes float32), its `index` and its `key`.

        Args:
            item: an index, or an index and key from the sampler; the key makes crops, flips and masks repeatable.
        """
        in_worker = get_worker_info() is not None  # where nobody but a loader asks
        return self.__getitems__([item if isinstance(item, tuple) or in_worker else self.key_of(item)])[0]

    def __getitems__(self, items: Sequence[int | SampleKey]) -> list[dict[str, Any]]:
        """Return the samples of a batch; several keys of one index that follow each other are crops of one load."""
        if get_worker_info() is not None:
            _use_one_thread(os.getpid())
        keyed = (item if isinstance(item, tuple) else self._draw_key(item) for item in items)
        groups = groupby(keyed, key=lambda item: item[0])
        return [sample for index, group in groups for sample in self.crops_of(index, [key for _, key in group])]

    def crops_of(self, index: int, keys: Sequence[int]) -> list[dict[str, Any]]:
        """Return a sample for each of `keys`, all of the image at `index`, which is loaded once."""
        return self.augment(self.load(index), index, keys)

    def augment(self, stored: dict[str, Any], index: int, keys: Sequence[int]) -> list[dict[str, Any]]:
        """Return a sample for each of `keys` from the one that is `stored`, whose inputs need not be decoded yet.

        Args:
            stored: what `load` returned.
            index: of the sample.
            keys: int64 of each sample that is returned, from which its augmentation is drawn.
        """
        samples, shared = [], len(keys) > 1
        if isinstance(stored["inputs"], EncodedImage):
            stored["inputs"].shared = shared
        torch_alone = all(getattr(transform, "draws_by_torch_alone", False) for transform in self.transforms)
        for key in keys:
            with keyed_rng(key, torch_alone) if self.transforms else nullcontext():
                changed = self._transformed(stored, shared)
            samples.append({**stored, **changed, "index": index, "key": key})
        return samples

    def truth_of(self, stored: Mapping[str, Any], size: tuple[int, int]) -> Sample:
        """Return what of a stored sample is to be moved with its image of `size` (H, W), see `SampleTransform`."""
        return {"weight": stored["weight"]} if "weight" in stored else {}

    def finished(self, sample: Sample, size: tuple[int, int]) -> dict[str, Any]:
        """Return what a sample holds of one that went through the pipeline, and was an image of `size` before."""
        changed = {k: plain(v).contiguous() if isinstance(v, Tensor) else v for k, v in sample.items()}
        return {**changed, "weight": changed["weight"].float()} if "weight" in changed else changed

    def _transformed(self, stored: dict[str, Any], shared: bool) -> dict[str, Any]:
        if not self.moves and "weight" not in stored:
            return {"inputs": self._transform(stored["inputs"], shared)}
        image = decoded(one_image(stored["inputs"]))
        size = (int(image.shape[-2]), int(image.shape[-1]))
        entries = {"inputs": image, **self.truth_of(stored, size)}
        # A transform may work in place, which the other crops must not see.
        sample = as_sample({k: v.clone() if shared and isinstance(v, Tensor) else v for k, v in entries.items()})
        for transform in self.transforms:
            sample = moved_with(transform, sample)
        return self.finished(sample, size)

    def _transform(self, image: Any, shared: bool) -> Any:
        for transform in self.transforms:
            if _is_of_views(image):
                image = in_each_view(transform, image)
                continue
            if not (isinstance(image, EncodedImage) and "encoded" in taken_by(transform)):
                # A transform may work in place, which the other crops must not see.
                image = decoded(image).clone() if shared else decoded(image)
                shared = False
            image = transform(image)
        return dict(image) if _is_of_views(image) else decoded(image)

    def name_of(self, index: int) -> str:
        """Return what to call the image at `index` in a table: its path, where it has one."""
        return str(index)

    def key_of(self, index: int, epoch: int = 0) -> SampleKey:
        """Return the key that sample `index` has in `epoch` under this dataset's own seed."""
        return SampleKey(index, int(sample_keys(self.seed, epoch, torch.tensor(index))))

    def _draw_key(self, index: int) -> SampleKey:
        # A loader whose sampler knows no keys: its epochs must differ, and torch's generator is what it is seeded by.
        return self.key_of(index, int(torch.randint(2**31, ())))


def _is_of_views(image: Any) -> bool:
    # An image is asked for first, because to ask for an abstract class takes ten times as long.
    return not isinstance(image, _IMAGES) and isinstance(image, Mapping)
