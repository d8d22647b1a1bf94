"""Draws a detector's predictions during training."""

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from maetool.data.datasets.detection import collate_objects
from maetool.ops.random import sample_keys
from maetool.parallel.sharding import gathered
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS
from maetool.visualization.boxes import objects_panel

from .tolerance import training_goes_on


@HOOKS.register_module()
class ObjectsHook(Hook):
    """Adds a picture `objects` to the visualiser: the same images each time, true objects left, predicted ones right.

    The images are the first of the validation data, or without it of the training data.

    Args:
        interval: epochs between pictures.
        num_images: rows of the picture.
        threshold: lowest score that is drawn, from 0 to 1.
    """

    def __init__(self, interval: int = 1, num_images: int = 4, threshold: float = 0.5) -> None:
        self.interval, self.num_images, self.threshold = interval, num_images, threshold

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Draw; all processes take part, because the weights may be sharded."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        dataset = (runner.train_dataloader if runner.val_loop is None else runner.val_dataloader).dataset
        number = min(self.num_images, len(dataset))
        keys = sample_keys(runner.seed or 0, 0, torch.arange(number)).tolist()
        classes = runner.trained_classes or dataset.classes  # of which the data may lack some
        samples = [
            {**sample, "objects": sample["objects"].numbered(dataset.classes, classes)}
            for sample in dataset.__getitems__(list(enumerate(keys)))
        ]
        with gathered(runner.bare_model):
            panel = objects_panel(runner.bare_model, collate_objects(samples), classes, self.threshold)
        if is_main_process():
            with training_goes_on(runner, "Drawing the objects"):
                runner.visualizer.add_image("objects", panel, step=runner.epoch + 1)
