"""Views of a sample that have pipelines of their own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from maetool.annotations import parameters_of
from maetool.data.codecs.encoded import EncodedImage, decoded
from maetool.errors import UsageError
from maetool.registry import TRANSFORMS, check_arguments, find_part

from .build import build_transform
from .crops import size_of
from .sample import taken_by
from .views import Views


@TRANSFORMS.register_module()
class SeveralViews:
    """Views of an image, each made by transforms of its own, and perhaps of several crops.

    Source: multi-crop of SwAV and DINO, with which MSN (facebookresearch/msn) and iBOT train.

    Args:
        size: height and width of the views in pixels, or one number for both: of transforms in the pipelines that take
            a size and have none.
        views: name of a view to `pipeline`, a list of transforms, and perhaps `crops`, how often they are applied, and
            `size`, where it is another one.

    Raises:
        UsageError: no views, or one without transforms or with anything else.
    """

    takes = ("encoded",)
    gives = "views"
    part_registries = {"views": {"pipeline": TRANSFORMS}}

    def __init__(self, size: int | Sequence[int], views: Mapping[str, Mapping[str, Any]]) -> None:
        self.size, self.crops, self.pipelines = size_of(size), {}, {}
        if not views:
            raise UsageError("SeveralViews got no views: give names of views and their pipelines.")
        for name, view in views.items():
            check_arguments(f"The view {name} of SeveralViews", view, ("pipeline", "crops", "size"))
            crops = view.get("crops", 1)
            if not view.get("pipeline") or type(crops) is not int or crops < 1:
                raise UsageError(
                    f"The view {name} of SeveralViews has {dict(view)}, but must have a pipeline of at least one "
                    "transform, and crops from 1 on."
                )
            self.crops[name] = crops
            self.pipelines[name] = [
                build_sized(each, size_of(view.get("size", self.size))) for each in view["pipeline"]
            ]
        transforms = [transform for pipeline in self.pipelines.values() for transform in pipeline]
        self.draws_by_torch_alone = all(getattr(each, "draws_by_torch_alone", False) for each in transforms)

    def __call__(self, image: Tensor | EncodedImage) -> Views:
        """Return the views of an image (C, H, W), each (C, *size), or (C, N, *size) of N crops."""
        if isinstance(image, EncodedImage):
            image.shared = True  # decoded once
        return Views({name: self._view(name, image) for name in self.pipelines})

    def _view(self, name: str, image: Tensor | EncodedImage) -> Tensor:
        crops = [_applied(self.pipelines[name], image) for _ in range(self.crops[name])]
        return crops[0] if len(crops) == 1 else torch.stack(crops, dim=1)


def build_sized(transform: Any, size: tuple[int, int]) -> Callable[[Any], Any]:
    """Build a transform, of this size if it takes one and has none.

    Args:
        transform: a config or a callable.
        size: height and width in pixels.
    """
    if isinstance(transform, Mapping):
        asked = parameters_of(find_part(transform.get("type"), TRANSFORMS)) or ()
        transform = {"size": size, **transform} if "size" in asked else transform
    return build_transform(transform)


def _applied(pipeline: Sequence[Callable[[Any], Any]], image: Any) -> Tensor:
    """Return an image after all transforms of a pipeline, of which none may change the image itself."""
    image = image.clone() if isinstance(image, Tensor) else image
    for transform in pipeline:
        encoded = isinstance(image, EncodedImage)
        image = transform(decoded(image).clone() if encoded and "encoded" not in taken_by(transform) else image)
    return decoded(image)
