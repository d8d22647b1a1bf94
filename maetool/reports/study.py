"""The features of some images: neighbours, map, clusters, colours of patches, attention."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maetool.data.datasets.subsets import evenly_spaced
from maetool.data.keys import SampleKey
from maetool.errors import UsageError
from maetool.evaluation import Features, token_features
from maetool.messages import plural
from maetool.pretrained.extract import extract
from maetool.pretrained.model import encoder_shape
from maetool.protocols import MapDataset, ModelLike
from maetool.visualization.attention import attention_maps, attention_panel, queries_of
from maetool.visualization.features import (
    bare,
    clusters,
    evenly_spread,
    map_figure,
    nearest_neighbours,
    patch_components,
    principal_components,
)
from maetool.visualization.galleries import gallery, patch_colours
from maetool.visualization.reconstruction import displayable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PICTURE_AXES = (3, 4)  # of images and of clips
_OF_A_CLUSTER = 8  # pictures
_HEADS = 6


class Some:
    """Some images of a dataset, evenly spaced, because files are often sorted by class.

    Args:
        dataset: the images, which take keys.
        number: of them; at most as many as there are.
    """

    def __init__(self, dataset: Any, number: int) -> None:
        self.dataset, self.index = dataset, evenly_spaced(len(dataset), number)
        self.classes, self.targets = (getattr(dataset, name, None) or [] for name in ("classes", "targets"))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: Any) -> Any:
        return self.dataset[SampleKey(int(self.index[item[0]]), item[1])]

    def key_of(self, item: int) -> Any:
        """Return the key of sample `item`, see `ImageDataset`."""
        return self.dataset.key_of(int(self.index[item]))

    def name_of(self, index: int) -> str:
        """Return the name of the image at `index` of the dataset, if that names its images."""
        return self.dataset.name_of(index) if hasattr(self.dataset, "name_of") else str(index)


class OneView:
    """A dataset of which one view is used, as pictures.

    Args:
        dataset: its `inputs` are a mapping of views.
        view: name of one.
    """

    def __init__(self, dataset: Any, view: str) -> None:
        self.dataset, self.view = dataset, view
        self.classes = getattr(dataset, "classes", [])

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: Any) -> Any:
        sample = self.dataset[item]
        inputs = sample["inputs"]
        return (
            {**sample, "inputs": inputs[self.view]} if isinstance(inputs, Mapping) and self.view in inputs else sample
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)


class OneSize:
    """Pictures of several sizes, resized to one, without what lies at their pixels.

    Args:
        dataset: its `inputs` are pictures (C, H, W).
        size: height and width in pixels.

    Attributes:
        note: what is to be said of them.
    """

    def __init__(self, dataset: Any, size: Sequence[int]) -> None:
        self.dataset, self.size = dataset, tuple(size)
        self.classes: list[str] = []
        self.note = f", resized to {'x'.join(map(str, self.size))}"

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: Any) -> Any:
        sample = self.dataset[item]
        inputs = sample["inputs"]
        resized = functional.interpolate(inputs[None].float(), self.size, mode="bilinear", antialias=True)[0]
        resized = resized if inputs.is_floating_point() else resized.round().clamp(0, 255).to(inputs.dtype)
        return {**{name: sample[name] for name in ("index", "key") if name in sample}, "inputs": resized}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)


@dataclass(frozen=True)
class Study:
    """The features of N images by one encoder.

    Attributes:
        model: the encoder with its preprocessor, or a classifier or regressor.
        images: the images, which have names.
        outputs: what was computed of them: `tokens`, float32 (N, D), `index` (N,) in the dataset, `label` where
            there are labels, and `predicted`, logits of a classifier or numbers of a regressor.
        labels: int64 (N,), the classes of the images; None where they have none, or several, or numbers.
        groups: the cluster of each image, int64 (N,).
    """

    model: ModelLike
    images: Some
    outputs: dict[str, Tensor]
    labels: Tensor | None
    groups: Tensor

    @property
    def features(self) -> Tensor:
        """The features, float32 (N, D)."""
        return self.outputs["tokens"]

    @property
    def counted(self) -> str:
        """The number of images in words, with that of the broken ones, and whether they were resized."""
        lost = len(self.images) - len(self.features)
        note = self.images.dataset.note if isinstance(self.images.dataset, OneSize) else ""
        return plural(len(self.features), "image") + (f", without {lost:,} that cannot be read" if lost else "") + note

    def name(self, place: int) -> str:
        """Return the name of the image at a `place`, 0 to N - 1, and its class if it has one."""
        name = self.images.name_of(int(self.outputs["index"][place]))
        return name if self.labels is None else f"{self.images.classes[int(self.labels[place])]}: {name}"

    def caption(self, place: int) -> str:
        """Return the class of the image at a `place`, or else its name."""
        return self.name(place) if self.labels is None else self.images.classes[int(self.labels[place])]

    def stored(self, places: Sequence[int]) -> Tensor:
        """Return the images at `places` as the encoder gets them but not normalised, (B, C, *size)."""
        dataset = self.images.dataset
        return torch.stack([dataset[int(self.outputs["index"][place])]["inputs"] for place in places])

    def pictures(self, places: Sequence[int]) -> list[np.ndarray]:
        """Return the images at `places` as pictures, uint8 (H, W, 3); of clips the middle frames."""
        stored = self.stored(places)
        stored = stored if stored.ndim == 4 else stored[:, :, stored.shape[2] // 2]
        return list(displayable(stored.float(), stored).numpy())

    def chosen(self, number: int) -> list[int]:
        """Return the places of a `number` of images that differ much, to look at."""
        return evenly_spread(self.features, number).tolist()

    def neighbours(self, queries: int = 6, number: int = 7) -> np.ndarray:
        """Draw rows of an image and its nearest neighbours with their similarity: `queries` rows, `number` in each."""
        asked = self.chosen(queries)
        nearest, similarity = nearest_neighbours(self.features, number, torch.tensor(asked))
        rows = [[place, *others] for place, others in zip(asked, nearest.tolist(), strict=True)]
        captions = [
            [self.caption(first), *(f"{self.caption(i)} {value:.2f}" for i, value in zip(others, values, strict=True))]
            for (first, *others), values in zip(rows, similarity.tolist(), strict=True)
        ]
        return gallery([self.pictures(row) for row in rows], captions)

    def map(self) -> "Figure":
        """Draw the first two principal components of the features, coloured by class, or by cluster without classes."""
        points = principal_components(self.features, 2)
        if self.labels is not None:
            return map_figure(points, self.labels, self.images.classes)
        return map_figure(points, self.groups, [f"cluster {i}" for i in range(int(self.groups.max()) + 1)])

    def clusters(self) -> np.ndarray:
        """Draw a row for each cluster, the largest first: images that lie evenly spaced in it."""
        counts = self.groups.bincount()
        members = [(self.groups == group).nonzero()[:, 0] for group in range(len(counts))]
        rows = [each[evenly_spaced(len(each), _OF_A_CLUSTER)].tolist() for each in members]
        captions = [[f"{i}: {counts[i]} images", *map(self.caption, row[1:])] for i, row in enumerate(rows)]
        return gallery([self.pictures(row) for row in rows], captions)

    @torch.no_grad()
    def patches(self, number: int = 6) -> np.ndarray:
        """Draw the principal components of the patches of a `number` of images as colours.

        Raises:
            UsageError: the tokens lie in no rows and columns.
        """
        self._check_grid()
        places = self.chosen(number)
        return patch_colours(self.pictures(places), patch_components(self.model, self._normalised(places)).cpu())

    @torch.no_grad()
    def attention(self, number: int = 4) -> np.ndarray:
        """Draw the attention of the class token, or of the mean patch without one, for some images.

        Args:
            number: of images.

        Raises:
            UsageError: the encoder gives no attention, or reads clips.
        """
        self._check_grid()
        places = self.chosen(number)
        maps = attention_maps(self.model, self._normalised(places), *queries_of(self.model)[:1]).cpu()
        return attention_panel(self.stored(places), maps, _HEADS)

    def _check_grid(self) -> None:
        encoder = bare(self.model)
        streams, shape = getattr(encoder, "streams", None) or (), encoder_shape(encoder)
        if len(streams) > 1:
            raise UsageError(f"the tokens of the encoder lie in {len(streams)} streams, not in one grid.")
        if shape is not None and len(shape) > 3:
            raise UsageError("the encoder reads clips or volumes, whose tokens lie along three axes.")

    def _normalised(self, places: Sequence[int]) -> Tensor:
        return self.model.data_preprocessor({"inputs": self.stored(places)})["images"]


def study_of(
    model: ModelLike,
    dataset: MapDataset,
    number: int = 500,
    num_clusters: int = 10,
    batch_size: int = 64,
    workers: int | None = None,
) -> Study:
    """Compute the features of some images.

    Args:
        model: the result of `maetool.pretrained.frozen.load_frozen`, or of `maetool.load_encoder`.
        dataset: the images.
        number: of images, evenly spaced over the dataset.
        num_clusters: number of clusters.
        batch_size, workers: see `maetool.pretrained.extract.extract`.

    Raises:
        UsageError: fewer than two images, inputs that are no pictures (C, H, W) or clips (C, T, H, W), or pictures of
            several sizes, as validation of segmentors may read them.
    """
    places = sorted({0, len(dataset) // 2, len(dataset) - 1}) if len(dataset) else []
    samples = [dataset[i] for i in places] or [{}]
    _check_pictures(samples[0], encoder_shape(bare(model)))
    _check_sizes([sample["inputs"].shape for sample in samples])
    functions: dict[str, Features] = {"tokens": token_features}
    if hasattr(model, "num_classes") or hasattr(model, "num_targets"):
        functions["predicted"] = lambda model, images: model(images, mode="predict")
    images = Some(dataset, number)
    outputs = extract(model, images, functions, "", batch_size, workers)
    if len(outputs["index"]) < 2:
        raise UsageError(
            f"Neighbours need two images or more, but of {plural(len(images), 'image')} {len(outputs['index'])} can be "
            "read: name a folder with more, and raise --images if it is 1."
        )
    label = outputs.get("label")
    labelled = label is not None and label.ndim == 1 and not label.is_floating_point() and bool(images.classes)
    return Study(model, images, outputs, label if labelled else None, clusters(outputs["tokens"], num_clusters))


def _check_pictures(sample: Mapping[str, Any], shape: Sequence[int] | None) -> None:
    inputs = sample.get("inputs")
    if "objects" in sample or "targets" in sample:
        raise UsageError("Features are drawn of pictures of one size, but the data is that of a detector.")
    if not isinstance(inputs, Tensor) or inputs.ndim not in _PICTURE_AXES or inputs.dtype == torch.int64:
        kind = f"of {inputs.ndim} axes" if isinstance(inputs, Tensor) else f"a {type(inputs).__name__}"
        raise UsageError(f"Features are drawn of pictures, (C, H, W), but the inputs of the data are {kind}.")
    if shape is not None and len(shape) != inputs.ndim:
        raise UsageError(f"The encoder reads inputs of {len(shape)} axes, but those of the data have {inputs.ndim}.")


def _check_sizes(shapes: Sequence[Sequence[int]]) -> None:
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    if other is not None:
        sizes = " and ".join("x".join(map(str, shape[1:])) for shape in (shapes[0], other))
        raise UsageError(f"Features are drawn of pictures of one size, but those of the data have {sizes} pixels.")
