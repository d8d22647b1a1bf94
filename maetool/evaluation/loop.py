"""Validation: what every loop of it shares, and the loops of pretraining."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.runner import BaseLoop
from torch import Tensor

from maetool.data.datasets.broken_files import own_part
from maetool.data.datasets.labels import Labels, aligned
from maetool.errors import UsageError
from maetool.evaluation import (
    collect_features,
    knn_accuracy,
    linear_probe_predict,
    pixel_features,
    token_features,
)
from maetool.parallel.sharding import gathered
from maetool.registry import LOOPS

from .counted import CountedBatches
from .evaluator import build_evaluator, compute


class ValLoop(BaseLoop):
    """What every validation does around its metrics; a subclass writes `measure`.

    No metric counts an image that replaces a broken file. Each broken file is named once in the log, and more than the
    dataset's `max_broken` end the run.

    Metrics of `val_evaluator` are computed besides: in a second pass over the data, each gets the batch as the loader
    gives it and, as `data_samples`, what the model's `val_step` predicts: a list with an entry for each image.

    Args:
        runner: the runner.
        dataloader: loader or config of the validation data.
        evaluator: metrics registered in `METRICS` as MMEngine's users write them: a config, a list, or an `Evaluator`.

    Attributes:
        batches: what a subclass reads the data from, as often as it needs.
        read: returns the batches of a loader, for one pass; during training, one that ends when the run is to stop.

    Raises:
        UsageError: a metric that does not exist, or a runner of another kind.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any = None) -> None:
        check_runner(type(self).__name__, runner)
        super().__init__(runner, dataloader)
        self.evaluator = build_evaluator(evaluator)
        self.evaluator.dataset_meta = getattr(self.dataloader.dataset, "metainfo", None)
        self.read: Callable[[Any], Iterable[Any]] = iter
        self.batches = self._counted(self.dataloader, "Validation")

    def _counted(self, loader: Any, title: str) -> CountedBatches:
        return CountedBatches(loader, self.runner.logger, title, lambda each: self.read(each))

    @torch.no_grad()
    def run(self) -> dict[str, Any]:
        """Return the metrics, after handing them to the hooks."""
        hook, model = self.runner.call_hook, self.runner.model
        stage = "test" if self.runner._test_loop is self else "val"
        hook(f"before_{stage}")
        hook(f"before_{stage}_epoch")
        training = model.training
        model.eval()
        with gathered(self.runner.bare_model):
            metrics = self._with_evaluator(self.measure())
        self.report_broken()
        model.train(training)
        hook(f"after_{stage}_epoch", metrics=metrics)
        hook(f"after_{stage}")
        return metrics

    def _with_evaluator(self, measured: dict[str, float]) -> dict[str, Any]:
        if not self.evaluator.metrics:
            return measured
        for data in map(own_part, self.batches):
            if data is not None:
                predicted = self.runner.bare_model.val_step(dict(data))
                self.evaluator.process(data_samples=predicted, data_batch=data)
        return compute(self.evaluator, len(self.dataloader.dataset), measured)

    def measure(self) -> dict[str, float]:
        """Return the metrics of the model, which is in evaluation mode; all processes call it together."""
        raise NotImplementedError(f"{type(self).__name__} must say what it measures: write `measure`.")

    def report_broken(self) -> None:
        """Log the broken files that were met; all processes call it together.

        Raises:
            UsageError: there are too many.
        """
        self.batches.report()

    def report(self, folder: Path) -> dict[str, Any]:
        """Write to a folder what the metrics leave out, and return what JSON can hold of it."""
        return {}


def check_runner(loop: str, runner: Any) -> None:
    """Check that a loop of maetool runs under a runner of maetool.

    Raises:
        UsageError: another runner.
    """
    if not hasattr(runner, "bare_model"):
        raise UsageError(
            f"{loop} runs under MaetoolRunner, but this is a {type(runner).__name__}: add runner_type="
            '"MaetoolRunner" to the config and build it with RUNNERS.build(cfg), or take the loops of MMEngine.'
        )


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
        evaluator: further metrics, see `ValLoop`.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        bank_dataloader: Any = None,
        k: int = 20,
        temperature: float = 0.07,
        linear_probe: bool = False,
        evaluator: Any = None,
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.bank_dataloader = bank_dataloader
        self.k, self.temperature, self.linear_probe = k, temperature, linear_probe
        self._pixels_done = False
        self._bank: CountedBatches | None = None

    def measure(self) -> dict[str, float]:
        """Return the metrics."""
        return {**self._losses(), **self._knn()}

    def _losses(self) -> dict[str, float]:
        model, totals, count = self.runner.bare_model, {}, 0
        for batch_idx, data in enumerate(map(own_part, self.batches)):
            if data is None:
                continue
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
        self._bank = self._bank or self._counted(self.bank_dataloader, "Neighbours of kNN")
        bank = collect_features(self.runner.bare_model, self._bank, features)
        query = collect_features(self.runner.bare_model, self.batches, features)
        query["label"] = aligned(Labels(classes, query["label"]), known)
        metrics = {name: knn_accuracy(bank, query, name, self.k, self.temperature) for name in features}
        if self.linear_probe:
            predicted = linear_probe_predict(bank["knn"], bank["label"], query["knn"])
            metrics["linear_probe"] = (predicted == query["label"]).float().mean().item() * 100
        return metrics

    def report_broken(self) -> None:
        """Log the broken files among the validation data and the neighbours, see `ValLoop`."""
        super().report_broken()
        if self._bank is not None:
            self._bank.report()


@LOOPS.register_module()
class KnnValLoop(PretrainValLoop):
    """Only the kNN accuracy of `PretrainValLoop`, and with `linear_probe` that of a linear classifier.

    The pixels are left out, because those of a million neighbours would not fit into memory.

    Args:
        runner, dataloader, bank_dataloader, k, temperature, linear_probe, evaluator: see `PretrainValLoop`.
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
