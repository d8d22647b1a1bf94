"""The loops of training and of the validation of pretraining."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.runner import BaseLoop, EpochBasedTrainLoop
from torch import Tensor

from maetool.data.labels import Labels, aligned, describe
from maetool.errors import UsageError
from maetool.evaluation import (
    collect_features,
    knn_accuracy,
    linear_probe_predict,
    pixel_features,
    token_features,
)
from maetool.registry import LOOPS

from .sharding import gathered
from .state import step_seed
from .stopping import StopRequest

_FEW_STEPS = 5000


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """Epochs of training that a resume enters at the very iteration where the run stopped.

    SIGTERM, SIGUSR1 or a used-up budget of time end it after the iteration in progress, saved; then `runner.stopped`
    says why.

    Args:
        runner: the runner.
        dataloader: loader or config; its sampler has `set_position`.
        max_epochs: epochs of the whole run.
        val_interval: epochs between validations.
        val_at_start: validate before the first step too, to know what the untrained encoder is worth.
        max_hours: wall-clock budget from the start of the program; None for none.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        max_epochs: int,
        val_interval: int = 1,
        val_at_start: bool = False,
        max_hours: float | None = None,
    ) -> None:
        super().__init__(runner, dataloader, max_epochs, val_interval=val_interval)
        self.val_at_start = val_at_start
        self.stop = StopRequest(max_hours)

    def run(self) -> torch.nn.Module:
        """Train until all epochs are over, or until the run is asked to stop."""
        runner = self.runner
        runner.logger.info(runner.rate)
        runner.logger.info(self._describe())
        if hasattr(runner.bare_model, "num_classes"):
            runner.logger.info(describe(self.dataloader.dataset))
        with self.stop:
            if self.val_at_start and self._iter == 0 and runner.val_loop is not None:
                runner.val_loop.run()
            runner.call_hook("before_train")
            while self._epoch < self._max_epochs and not runner.stopped:
                self.run_epoch()
                due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
                if due and runner.val_loop is not None and not runner.stopped:
                    runner.val_loop.run()
            runner.call_hook("after_train")
        return runner.model

    def _describe(self) -> str:
        runner = self.runner
        steps = self.max_iters // runner.cfg.optim_wrapper.get("accumulative_counts", 1)
        said = (
            f"{len(self.dataloader.dataset):,} images, {self.max_epochs} epochs, {self.max_iters:,} iterations, "
            f"{steps:,} optimiser steps."
        )
        at_once = self.dataloader.batch_size * runner.world_size
        if steps < _FEW_STEPS and (runner.cfg.get("effective_batch_size") or 0) > at_once:
            said += (
                " Few steps learn little (the published recipe makes 250,000): for a small set of images use a smaller "
                f"effective batch, for example --cfg-options effective_batch_size={at_once}."
            )
        return said

    def run_epoch(self) -> None:
        """Run one epoch, or what is left of it after a resume.

        Raises:
            UsageError: the run that is resumed had another number of iterations in an epoch.
        """
        length = len(self.dataloader)
        start = self._iter - self._epoch * length
        if not 0 <= start <= length:
            raise UsageError(
                f"The run stopped at iteration {self._iter} of epoch {self._epoch}, but an epoch now has {length} "
                "iterations: resume with the data, batch size and number of processes that it began with."
            )
        self.dataloader.sampler.set_position(self._epoch, start * self.dataloader.batch_size)
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        for batch_idx, data_batch in enumerate(self.dataloader, start):
            self.run_iter(batch_idx, data_batch)
            self.runner.stopped = self.stop.reason(next(self.runner.model.parameters()).device)
            if self.runner.stopped:
                self.runner.call_hook("before_stop")
                return
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: dict[str, Any]) -> None:
        """Run one iteration; one that is not finite has no outputs, so that it does not enter the averages."""
        runner = self.runner
        # What draws from the global generator (drop path, dropout) is a function of the iteration and the process.
        torch.manual_seed(step_seed(runner.seed, self._iter, runner.rank))
        runner.call_hook("before_train_iter", batch_idx=idx, data_batch=data_batch)
        outputs = runner.model.train_step(data_batch, optim_wrapper=runner.optim_wrapper)
        outputs = {} if runner.optim_wrapper.fault else outputs
        runner.call_hook("after_train_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1


class ValLoop(BaseLoop):
    """What every validation does around its metrics; a subclass writes `measure`."""

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        """Return the metrics, after telling them to the hooks."""
        hook, model = self.runner.call_hook, self.runner.model
        hook("before_val")
        hook("before_val_epoch")
        training = model.training
        model.eval()
        with gathered(self.runner.bare_model):
            metrics = self.measure()
        model.train(training)
        hook("after_val_epoch", metrics=metrics)
        hook("after_val")
        return metrics

    def measure(self) -> dict[str, float]:
        """Return the metrics of the model, which is in evaluation mode; all processes call it together."""
        raise NotImplementedError(f"{type(self).__name__} must say what it measures: write `measure`.")

    def report(self, folder: Path) -> dict[str, Any]:
        """Write to a folder what the metrics leave out, and return what JSON can hold of it."""
        return {}


@LOOPS.register_module()
class PretrainValLoop(ValLoop):
    """Loss under masks that never change, and kNN accuracy where the data has labels.

    The metrics are `loss`, `constant_predictor` (see `RegressionHead`), and with labels `knn`, the accuracy in percent
    of a k-nearest-neighbour classifier on the encoder's features of whole images, and once a run `knn_pixels`, that on
    the pixels themselves.

    Args:
        runner: the runner.
        dataloader: loader or config of the validation data.
        bank_dataloader: loader or config of the labelled neighbours; None leaves kNN out.
        k: neighbours that vote.
        temperature: of the weights exp(similarity / temperature) of the votes.
        linear_probe: fit a linear classifier on the features of the bank too, and report its accuracy in percent.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        bank_dataloader: Any = None,
        k: int = 20,
        temperature: float = 0.07,
        linear_probe: bool = False,
    ) -> None:
        super().__init__(runner, dataloader)
        self.bank_dataloader = bank_dataloader
        self.k, self.temperature, self.linear_probe = k, temperature, linear_probe
        self._pixels_done = False

    def measure(self) -> dict[str, float]:
        """Return the metrics."""
        return {**self._losses(), **self._knn()}

    def _losses(self) -> dict[str, float]:
        model, totals, count = self.runner.bare_model, {}, 0
        for batch_idx, data in enumerate(self.dataloader):
            self.runner.call_hook("before_val_iter", batch_idx=batch_idx, data_batch=data)
            batch = model.data_preprocessor(data)
            losses, size = model(**batch, mode="loss"), len(batch["images"])
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + value.double() * size
            count += size
            self.runner.call_hook("after_val_iter", batch_idx=batch_idx, data_batch=data, outputs=losses)
        return {name: self._mean(total, count) for name, total in totals.items()}

    @staticmethod
    def _mean(total: Tensor, count: int) -> float:
        both = torch.stack([total.cpu(), torch.tensor(float(count), dtype=torch.float64)])
        all_reduce(both)
        return (both[0] / both[1]).item()

    def _knn(self) -> dict[str, float]:
        if self.bank_dataloader is None:
            return {}
        if isinstance(self.bank_dataloader, Mapping):
            self.bank_dataloader = self.runner.build_dataloader(self.bank_dataloader, seed=self.runner.seed)
        known, classes = (_classes_of(loader.dataset) for loader in (self.bank_dataloader, self.dataloader))
        if not known or not classes:
            return {}
        features = (
            {"knn": token_features} if self._pixels_done else {"knn": token_features, "knn_pixels": pixel_features}
        )
        self._pixels_done = True
        bank = collect_features(self.runner.bare_model, self.bank_dataloader, features)
        query = collect_features(self.runner.bare_model, self.dataloader, features)
        query["label"] = aligned(Labels(classes, query["label"]), known)
        metrics = {name: knn_accuracy(bank, query, name, self.k, self.temperature) for name in features}
        if self.linear_probe:
            predicted = linear_probe_predict(bank["knn"], bank["label"], query["knn"])
            metrics["linear_probe"] = (predicted == query["label"]).float().mean().item() * 100
        return metrics


@LOOPS.register_module()
class KnnValLoop(PretrainValLoop):
    """Only the kNN accuracy of `PretrainValLoop`, and with `linear_probe` that of a linear classifier.

    The pixels are left out, because those of a million neighbours would not fit into memory.

    Args:
        runner, dataloader, bank_dataloader, k, temperature, linear_probe: see `PretrainValLoop`.
    """

    def measure(self) -> dict[str, float]:
        """Return the metrics.

        Raises:
            UsageError: no neighbours, or data without labels.
        """
        self._pixels_done = True
        metrics = self._knn()
        if not metrics:
            raise UsageError(
                "kNN needs labelled neighbours in val_cfg.bank_dataloader and labelled images in val_dataloader: give "
                "a folder with train/ and val/, each with a folder for each class."
            )
        return metrics


def _classes_of(dataset: Any) -> list[str]:
    # Several labels for an image have no accuracy.
    labels = getattr(dataset, "labels", None)
    return dataset.classes if labels is not None and labels.ndim == 1 else []
