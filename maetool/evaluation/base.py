"""What an evaluator is: one thing that is measured of a model, with its own data, cadence and prefix."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from maetool.errors import UsageError

from .counted import CountedBatches
from .features import Features, collect_features
from .names import MetricName


class BaseEvaluator:
    """Measures one thing of a model; `ValLoop` runs any number of them, in training and in `maetool test`.

    A subclass is registered in `METRICS` and writes `measure`.

    Args:
        dataloader: loader or config of the images to measure on; None takes those of the loop.
        every: validations of a training from one measurement to the next, see `ValLoop`.
        prefix: goes before the names of its metrics, as in "prefix/knn"; an empty one before none. By default the
            evaluator's name in the config goes before those names that another evaluator of the loop gives too.

    Attributes:
        metric_names: what its metrics are called, see `maetool.evaluation.names`.
        files: names of the files that `report` writes.

    Raises:
        UsageError: fewer than one validation.
    """

    metric_names: ClassVar[Mapping[str, MetricName]] = {}
    files: ClassVar[Sequence[str]] = ()

    def __init__(self, dataloader: Any = None, every: int = 1, prefix: str | None = None) -> None:
        if type(every) is not int or every < 1:
            raise UsageError(
                f"{type(self).__name__} got every={every!r}, but it must be a whole number from 1: of how many "
                "validations one measures."
            )
        self.dataloader, self.every, self.prefix = dataloader, every, prefix

    def check_dataset(self, dataset: Any) -> None:
        """Check that there is something to measure on a dataset; called before training begins.

        Raises:
            UsageError: there is not.
        """

    def measure(self, model: nn.Module, data: "EvaluationData") -> dict[str, Any]:
        """Return name to value; all processes call it together, and each returns the same.

        Args:
            model: in evaluation mode, without the wrapper of several processes; gradients are off.
            data: the images, and what goes with them.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it measures: write `measure`.")

    def report(self, folder: Path) -> dict[str, Any]:
        """Write to a folder what the metrics of the last measurement leave out, and return what JSON can hold of it."""
        return {}


def _no_hook(name: str, **_: Any) -> None:
    """Call nothing: outside of a runner there are no hooks."""


@dataclass
class Shared:
    """What the evaluators of one validation share.

    Attributes:
        model: the one that is measured.
        open: returns the batches of a loader or of its config; those of the same loader are the same object.
        trained_classes: names of the classes that the model was trained on; empty where nothing says so.
        bank: loader or config of the labelled images that features are compared with, for evaluators without their own.
        call_hook: calls a method of the runner's hooks.
    """

    model: nn.Module
    open: Callable[[Any, str], CountedBatches]
    trained_classes: Sequence[str] = ()
    bank: Any = None
    call_hook: Callable[..., None] = _no_hook
    _features: dict[int, tuple[dict[str, Features], dict[str, Tensor]]] = field(default_factory=dict)

    def features(self, batches: CountedBatches, functions: Mapping[str, Features]) -> dict[str, Tensor]:
        """Return what `collect_features` does, without another pass where these features are there already."""
        known, found = self._features.get(id(batches), ({}, {}))
        if not functions.items() <= known.items():
            known, found = dict(functions), collect_features(self.model, batches, functions)
            self._features[id(batches)] = known, found
        return dict(found)


class EvaluationData:
    """The images that an evaluator measures on, and what goes with them.

    Iterating over it yields the batches as the loader gives them, in each pass anew. Broken files among them count
    once; `maetool.data.datasets.broken_files.own_part` takes out of a batch what replaces them.

    Args:
        batches: of the loader.
        shared: what the evaluators of this validation share.

    Attributes:
        dataset: of the loader.
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
        """Return the features of all images, see `collect_features`; evaluators that ask for the same share a pass."""
        return self._shared.features(self._batches, functions)

    def other(self, loader: Any, title: str) -> "EvaluationData":
        """Return further data of an evaluator, such as labelled images to compare with.

        Args:
            loader: or its config, which is built once.
            title: what the images are for, in the log.
        """
        return EvaluationData(self._shared.open(loader, title), self._shared)
