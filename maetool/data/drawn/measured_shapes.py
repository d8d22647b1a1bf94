"""Drawn pictures with a number to predict."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.registry import DATASETS

from .shapes import ShapesDataset


@DATASETS.register_module()
class MeasuredShapes(ShapesDataset):
    """The scenes of `ShapesDataset` with a number to predict: how much of the picture its objects cover, in percent.

    The samples have `label`, float32 (1,). All scenes are drawn once at the beginning.

    Args:
        num_samples, img_size, in_chans, seed, pipeline, cache: see `ShapesDataset`.
    """

    label_names: ClassVar = ShapesDataset.label_names
    metainfo: ClassVar[dict[str, Any]] = {"targets": ["covered %"]}

    def __init__(
        self,
        num_samples: Count,
        img_size: Size,
        in_chans: Count = 3,
        seed: int = 0,
        pipeline: Sequence[Any] = (),
        cache: bool = True,
    ) -> None:
        super().__init__(num_samples, img_size, in_chans, seed, pipeline, cache)
        self.classes, self.targets = [], list(self.metainfo["targets"])
        self.labels = torch.stack([self._covered(index) for index in range(len(self))])

    def load(self, index: int) -> dict[str, Any]:
        """Return `inputs`, what `draw` gives, and `label`, float32 (1,).

        Raises:
            IndexError: no sample has this index.
        """
        assert self.labels is not None
        return {**super().load(index), "label": self.labels[index].clone()}

    def _covered(self, index: int) -> Tensor:
        return torch.tensor([(self.scene(index).semantic > 0).mean() * 100], dtype=torch.float32)
