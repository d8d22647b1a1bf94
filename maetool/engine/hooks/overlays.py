"""Draws predicted classes of pixels during training."""

from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from torch.utils.data import default_collate

from maetool.evaluation.confusion import predict_classes
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS
from maetool.visualization.overlays import overlay, palette_of, picture_of, side_by_side

from .tolerance import training_goes_on


@HOOKS.register_module()
class OverlayHook(Hook):
    """Adds a picture `segmentation` to the visualiser: the same images each time, with true and predicted classes.

    The images are the first of the validation data, or without it of the training data.

    Args:
        interval: epochs between pictures.
        num_images: rows of the picture.
    """

    def __init__(self, interval: int = 1, num_images: int = 4) -> None:
        self.interval, self.num_images = interval, num_images

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Draw; all processes take part, because the weights may be sharded."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        loader = runner.train_dataloader if runner.val_loop is None else runner.val_dataloader
        picture = self._draw(runner.bare_model, loader.dataset)
        if is_main_process():
            with training_goes_on(runner, "Drawing the classes of pixels"):
                runner.visualizer.add_image("segmentation", picture, step=runner.epoch + 1)

    @torch.no_grad()
    def _draw(self, model: Any, dataset: Any) -> np.ndarray:
        training = model.training
        model.eval()
        columns: dict[str, list[np.ndarray]] = {"image": [], "true": [], "predicted": []}
        colours = dataset.metainfo.get("palette") or palette_of(len(dataset.classes))
        for index in range(min(self.num_images, len(dataset))):
            sample = dataset[index]
            truth = sample["semantic"].numpy()
            image = picture_of(sample["inputs"], truth.shape)
            predicted = predict_classes(model, default_collate([sample]), truth.shape)[0].numpy()
            columns["image"].append(image)
            columns["true"].append(overlay(image, truth, colours))
            columns["predicted"].append(overlay(image, predicted, colours))
        model.train(training)
        return side_by_side(columns)
