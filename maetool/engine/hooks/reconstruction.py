"""Draws reconstructions during training."""

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from maetool.protocols import RunnerLike
from maetool.registry import HOOKS
from maetool.visualization.pictures import save_picture
from maetool.visualization.reconstruction import Statistics, first_samples, reconstruction_panel

from .tolerance import training_goes_on

_MOST = 100  # pictures of a run: with few images, a run has hundreds of short epochs


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Writes `reconstructions/epoch_N.png` to the work folder: the same images under the same masks each time.

    A model that cannot reconstruct, such as a classifier, gets no picture.

    The images are the first of the validation data, or without it of the training data.

    Args:
        interval: epochs between pictures; None draws every epoch, or in long runs about a hundred pictures.
        num_images: rows of the picture.
        statistics: how normalised predictions are turned back into colours, see `PixelTarget.invert`.
    """

    def __init__(self, interval: int | None = None, num_images: int = 8, statistics: Statistics = "true") -> None:
        self.interval, self.num_images, self.statistics = interval, num_images, statistics

    def is_due(self, runner: RunnerLike) -> bool:
        """Return whether this epoch of `runner` gets a picture; the last one always does."""
        interval = self.interval or -(-runner.max_epochs // _MOST)
        return self.every_n_epochs(runner, interval) or self.is_last_train_epoch(runner)

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Draw; all processes take part, because the weights may be sharded."""
        if not self.is_due(runner) or not hasattr(runner.bare_model, "reconstruct"):
            return
        loader = runner.train_dataloader if runner.val_loop is None else runner.val_dataloader
        batch = first_samples(loader.dataset, self.num_images, runner.seed)
        panel = reconstruction_panel(runner.bare_model, batch, self.statistics)
        if is_main_process():
            with training_goes_on(runner, "Drawing the reconstructions"):
                path = Path(runner.work_dir) / "reconstructions" / f"epoch_{runner.epoch + 1}.png"
                save_picture(panel, path)
