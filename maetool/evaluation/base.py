"""The base class of evaluators: one measurement of a model, with its own data, cadence and prefix."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from maetool.errors import UsageError
from maetool.protocols import ModelLike

from .counted import CountedBatches
from .features import Features, collect_features
from .names import MetricName


class BaseEvaluator:
    """One measurement of a model; `ValLoop` runs any number of evaluators, in training and in `maetool test`.

    A subclass is registered in `METRICS` and implements `measure`.

    Args:
        dataloader: loader or config of the images to measure on; None uses those of the loop.
        every: measure at every n-th validation of a training, see `ValLoop`.
        prefix: put before the names of its metrics, as in "prefix/knn"; an empty one is never put. By default the
            evaluator's name in the config is put before names that another evaluator of the loop has too.

    Attributes:
        metric_names: names, units and directions of its metrics, see `maetool.evaluation.names`.
        files: names of the files that `report` writes.

    Raises:
        UsageError: `every` is not a whole number from 1.
    """

    metric_names: ClassVar[Mapping[str, MetricName]] = {}
    files: ClassVar[Sequence[str]] = ()

    def __init__(self, dataloader: Any = None, every: int = 1, prefix: str | None = None) -> None:
        if type(every) is not int or every < 1:
            raise UsageError(
                f"{type(self).__name__} got every={every!r}, but it must be a whole number from 1: it measures at "
                "every n-th validation."
            )
        self.dataloader, self.every, self.prefix = dataloader, every, prefix

    def check_dataset(self, dataset: Any) -> None:
        """Check that the evaluator can measure on a dataset; called before training begins.

        Raises:
            UsageError: it cannot.
        """

    def measure(self, model: ModelLike, data: "EvaluationData") -> dict[str, Any]:
        """Return the metrics by name; all processes call it together, and each must return the same.

        Args:
            model: the model in evaluation mode, without the wrapper of several processes; gradients are off.
            data: the images and the context of the validation.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `measure`.")

    def report(self, folder: Path) -> dict[str, Any]:
        """Write details of the last measurement to a folder, and return those that JSON can represent."""
        return {}


def _no_hook(name: str, **_: Any) -> None:
    """Call nothing: outside of a runner there are no hooks."""


@dataclass
class Shared:
    """State shared by the evaluators of one validation.

    Attributes:
        model: the model that is measured.
        open: returns the batches of a loader or of its config; the same object for the same loader.
        trained_classes: names of the classes, or of the numbers to predict, of the training; empty if unknown.
        bank: loader or config of the labelled bank images, for evaluators without their own.
        call_hook: calls a method of the runner's hooks.
    """

    model: ModelLike
    open: Callable[[Any, str], CountedBatches]
    trained_classes: Sequence[str] = ()
    bank: Any = None
    call_hook: Callable[..., None] = _no_hook
    _features: dict[int, tuple[dict[str, Features], dict[str, Tensor]]] = field(default_factory=dict)

    def features(self, batches: CountedBatches, functions: Mapping[str, Features]) -> dict[str, Tensor]:
        """Return the result of `collect_features`, cached within this validation.

        Args:
            batches: of one loader.
            functions: of (model, images), by name; see `collect_features`.
        """
        known, features = self._features.get(id(batches), ({}, {}))
        if not functions.items() <= known.items():
            known, features = dict(functions), collect_features(self.model, batches, functions)
            self._features[id(batches)] = known, features
            self.call_hook("after_features", features=features)
        return dict(features)


class EvaluationData:
    """The images that an evaluator measures on, and the context of the validation.

    Each iteration over it is a pass over the batches of the loader. Broken files count once;
    `maetool.data.datasets.broken_files.own_part` removes their replacements from a batch.

    Args:
        batches: batches of the loader.
        shared: state shared by the evaluators of this validation.

    Attributes:
        dataset: the loader's dataset.
        trained_classes, bank, call_hook: see `Shared`.
    """

    def __init__(self, batches: CountedBatches, shared: Shared) -> None:
        self._batches, self._shared = batches, shared
        self.dataset: Any = batches.loader.dataset
        self.trained_classes, self.bank, self.call_hook = shared.trained_classes, shared.bank, shared.call_hook

    def __iter__(self) -> Iterator[Any]:
        """Yield each batch."""
        return iter(self._batches)

    def features(self, functions: Mapping[str, Features]) -> dict[str, Tensor]:
        """Return the features of all images, see `collect_features`; equal requests of evaluators share a pass.

        Args:
            functions: of (model, images), by name.
        """
        return self._shared.features(self._batches, functions)

    def other(self, loader: Any, title: str) -> "EvaluationData":
        """Return additional data of an evaluator, such as labelled bank images.

        Args:
            loader: a loader, or its config, which is built once.
            title: the purpose of the images, for the log.
        """
        return EvaluationData(self._shared.open(loader, title), self._shared)
