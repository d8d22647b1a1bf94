"""What sources must keep; see `maetool.testing.contracts`."""

import pickle
from contextlib import suppress

import torch

from maetool.data.codecs.images import UnreadableImage
from maetool.data.sources.base import Labels, Source

from .contracts import _require


def check_source(source: Source, labelled: bool = True) -> None:
    """A source names and reads its images, heeds the limit of bytes, and stays the same in a worker and in a selection.

    Args:
        source: of at least two images, which can be read.
        labelled: whether it knows labels.
    """
    numbers = range(len(source))
    _require(len(source) > 1 and isinstance(source.root, str), "it has a length and a root, a string")
    _require(len({source.relative(i) for i in numbers}) == len(source), "each image has a name of its own")
    content = {i: source.read(i) for i in numbers}
    _require(all(path == source.path(i) for i, (path, _) in content.items()), "read gives path(index) first")
    _require(all(isinstance(data, bytes) and data for _, data in content.values()), "read gives bytes")
    for i, (_, data) in content.items():
        _require(source.read(i, len(data)) == content[i], "an image is the same each time, and may have `most` bytes")
        with suppress(UnreadableImage):
            source.read(i, len(data) - 1)
            _require(False, "an image of more than `most` bytes is an UnreadableImage")
    copy = pickle.loads(pickle.dumps(source))
    _require(all(copy.read(i) == content[i] for i in numbers), "a worker's copy reads the same")
    chosen = [len(source) - 1, 0]
    taken = source.take(chosen)
    names = [source.relative(i) for i in chosen]
    _require([taken.relative(i) for i in range(len(taken))] == names, "take selects by index")
    _require([taken.read(i) for i in range(len(taken))] == [content[i] for i in chosen], "and reads what is selected")
    if labelled:
        _check_labels(source.labels(), taken.labels(), chosen)


def _check_labels(labels: Labels, taken: Labels, chosen: list[int]) -> None:
    classes, values = labels
    _require(len(set(classes)) == len(classes) > 0, "each class has a name of its own")
    if values.ndim == 1:
        _require(values.dtype == torch.int64 and values.min() >= 0 and values.max() < len(classes), "labels are int64")
    else:
        is_binary = (
            values.dtype == torch.float32
            and values.shape[1] == len(classes)
            and bool(((values == 0) | (values == 1)).all())
        )
        _require(is_binary, "several labels are float32 (N, K) of zeros and ones")
    _require(taken.classes == classes and torch.equal(taken.values, values[chosen]), "a selection keeps its labels")
