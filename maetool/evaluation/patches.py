"""Nearest neighbours of patches: pixel classes from frozen features, without training anything."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor
from torch.nn import functional

from maetool.annotations import Count, Positive
from maetool.data.datasets.broken_files import own_part
from maetool.data.datasets.dense import DenseDataset
from maetool.errors import UsageError
from maetool.heads.segmentation import resize_map
from maetool.protocols import ModelLike
from maetool.registry import METRICS

from .base import BaseEvaluator, EvaluationData
from .confusion import no_scores, pixel_confusion
from .features import gather_samples, tokens_of
from .knn import knn_scores
from .names import named

_BANK = "Patches of kNN"  # in the log


@METRICS.register_module()
class PatchKnnEvaluator(BaseEvaluator):
    """Mean IoU of pixel classes that the nearest patches of other images vote for: `knn_mean_iou`, in percent.

    A labelled patch votes with the shares of its pixels' classes; the votes of an image's patches are resized to its
    pixels. Nothing is trained. After Balažević et al., "Towards in-context scene understanding" (2023), with the votes
    of `maetool.evaluation.knn_scores` in the place of attention.

    Args:
        bank: loader or config of the images with pixel classes whose patches vote; None uses `bank_dataloader` of the
            loop.
        k: number of neighbours of each patch.
        temperature: of the votes, see `knn_scores`.
        bank_patches: number of voting patches, the same of each image, drawn at random once and for all.
        dataloader, every, prefix: see `BaseEvaluator`.

    Raises:
        UsageError: images without pixel classes or with other classes than the bank, or an encoder that gives no grid
            of rows and columns.
    """

    metric_names = named("knn_mean_iou")

    def __init__(
        self,
        bank: Any = None,
        k: Count = 30,
        temperature: Positive = 0.07,
        bank_patches: Count = 20_000,
        dataloader: Any = None,
        every: int = 1,
        prefix: str | None = None,
    ) -> None:
        super().__init__(dataloader, every, prefix)
        self.bank, self.k, self.temperature, self.bank_patches = bank, k, temperature, bank_patches

    def check_dataset(self, dataset: Any) -> None:
        """Check that a dataset has pixel classes.

        Raises:
            UsageError: it has none.
        """
        if not isinstance(dataset, DenseDataset):
            raise UsageError(
                f"PatchKnnEvaluator needs pixel classes, which a {type(dataset).__name__} does not have: give the "
                "evaluator a dataloader and a bank of a SegmentationDataset."
            )

    def measure(self, model: ModelLike, data: EvaluationData) -> dict[str, float]:
        """Return the mean IoU.

        Raises:
            UsageError: see the class.
        """
        loader = data.bank if self.bank is None else self.bank
        if loader is None:
            raise UsageError("PatchKnnEvaluator has no images whose patches vote: set its bank or bank_dataloader.")
        bank = data.other(loader, _BANK)
        for each in (data, bank):
            self.check_dataset(each.dataset)
        classes = list(data.dataset.classes)
        if classes != list(bank.dataset.classes):
            raise UsageError("PatchKnnEvaluator has other classes in its bank than in its images: give both the same.")
        features, shares = self._voters(model, bank, len(classes))
        scores = no_scores(len(classes))
        for tokens, grid, truth, _ in _batches(model, data):
            votes = knn_scores(features, shares, tokens.flatten(0, 1), self.k, self.temperature)
            maps = votes.view(len(tokens), *grid, -1).permute(0, 3, 1, 2)  # (B, K, h, w)
            predicted = resize_map(maps, truth.shape[-2:]).argmax(dim=1).cpu()
            scores = scores.added(pixel_confusion(predicted, truth, len(classes), data.dataset.ignore_index))
        all_reduce(scores.confusion)
        return {"knn_mean_iou": scores.metrics["mean_iou"]}

    def _voters(self, model: ModelLike, bank: EvaluationData, num_classes: int) -> tuple[Tensor, Tensor]:
        """Return features (M, D) and shares of the classes (M, K) of the bank's patches, of all processes."""
        number = max(1, self.bank_patches // len(bank.dataset))
        features, shares = [], []
        for tokens, grid, truth, index in _batches(model, bank):
            of_patches = _class_shares(truth, grid, num_classes, bank.dataset.ignore_index).to(tokens.device)
            chosen = torch.stack([_some(i, tokens.shape[1], number) for i in index.tolist()]).to(tokens.device)
            rows = torch.arange(len(tokens), device=tokens.device)[:, None]
            features.append(tokens[rows, chosen].flatten(0, 1))
            shares.append(of_patches[rows, chosen].flatten(0, 1))
        pair = gather_samples(torch.cat(features)), gather_samples(torch.cat(shares))
        known = pair[1].sum(dim=1) > 0
        if not known.any():
            raise UsageError("All pixels of the images that vote in PatchKnnEvaluator are ignored: check their masks.")
        return pair[0][known], pair[1][known]


def _batches(model: Any, data: EvaluationData) -> Iterator[tuple[Tensor, tuple[int, ...], Tensor, Tensor]]:
    """Yield patch tokens (B, L, D), their grid, pixel classes (B, H, W) and the indices of the images."""
    for batch in filter(None, map(own_part, data)):
        images = model.data_preprocessor(dict(batch))["images"]
        tokens = tokens_of(model, images)
        grid = tuple(model.encoder.grid_of(images)) if hasattr(model.encoder, "grid_of") else ()
        if tokens.ndim != 3 or len(grid) != 2:
            raise UsageError(
                f"PatchKnnEvaluator compares patches in rows and columns, which {type(model.encoder).__name__} in a "
                f"{type(model).__name__} does not give: remove it from val_cfg.evaluators."
            )
        yield tokens.float(), grid, batch["semantic"].cpu(), batch["index"].cpu()


def _class_shares(truth: Tensor, grid: tuple[int, ...], num_classes: int, ignore_index: int) -> Tensor:
    """Return which share of each patch's pixels has each class, float32 (B, L, K); ignored pixels have none."""
    classes = torch.where(truth == ignore_index, num_classes, truth)
    one_hot = functional.one_hot(classes, num_classes + 1)[..., :num_classes].permute(0, 3, 1, 2).float()
    return functional.adaptive_avg_pool2d(one_hot, (grid[0], grid[1])).flatten(2).transpose(1, 2)


def _some(index: int, patches: int, number: int) -> Tensor:
    """Return which patches of the image at `index` vote, the same ones in every validation."""
    return torch.randperm(patches, generator=torch.Generator().manual_seed(index))[:number]
