"""The loop of validation, which runs evaluators, and the loops of pretraining that configs of 0.1 name."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.runner import BaseLoop

from maetool.annotations import Count, Positive
from maetool.data.datasets.broken_files import own_part
from maetool.errors import UsageError
from maetool.parallel.sharding import gathered
from maetool.protocols import RunnerLike
from maetool.registry import LOOPS, METRICS

from .base import BaseEvaluator, EvaluationData, Shared
from .cadence import is_due
from .counted import CountedBatches
from .earlier import evaluators_of
from .evaluator import build_evaluator, compute, plain_value
from .on_features import FeatureEvaluator
from .prefixes import build_evaluators, folder_of, full_names, must_wait


@LOOPS.register_module()
class ValLoop(BaseLoop):
    """Measures what its evaluators measure, and returns their metrics as one dict.

    No metric counts an image that replaces a broken file. Each broken file is named once in the log, and more than the
    dataset's `max_broken` end the run.

    In training an evaluator with `every=n` measures where the number of epochs, or iterations, that are over is a
    multiple of n validation intervals, which includes the validation before the first step, and after the last; so a
    run that is resumed measures at the same places. Outside of training all of them measure.

    Metrics of `val_evaluator` are computed besides: in a further pass over the data, each gets the batch as the loader
    gives it and, as `data_samples`, what the model's `val_step` predicts: a list with an entry for each image.

    Args:
        runner: the runner.
        dataloader: loader or config of the validation data.
        evaluator: metrics registered in `METRICS` as MMEngine's users write them: a config, a list, or an `Evaluator`.
        evaluators: name to evaluator, a `BaseEvaluator` or its config, in the order in which they measure; None in the
            place of one leaves it out.
        bank_dataloader: loader or config of labelled images that features are compared with, for all evaluators that
            have none of their own.

    Attributes:
        batches: those of the validation data, which can be read as often as needed.
        read: returns the batches of a loader, for one pass; during training, one that ends when the run is to stop.
        resting: names of the evaluators that the last validation left out, because it was not their turn.

    Raises:
        UsageError: a metric or an evaluator that does not exist, or a runner of another kind.
    """

    part_registries: ClassVar[Mapping[str, Any]] = {"evaluators": METRICS}

    def __init__(
        self,
        runner: RunnerLike,
        dataloader: Any,
        evaluator: Any = None,
        evaluators: Mapping[str, Any] | None = None,
        bank_dataloader: Any = None,
    ) -> None:
        check_runner(type(self).__name__, runner)
        super().__init__(runner, dataloader)
        self.evaluator = build_evaluator(evaluator)
        self.evaluator.dataset_meta = getattr(self.dataloader.dataset, "metainfo", None)
        self.evaluators = build_evaluators(evaluators or {})
        for each in self.evaluators.values():
            if each.dataloader is None:
                each.check_dataset(self.dataloader.dataset)
        self.bank_dataloader = bank_dataloader
        self.read: Callable[[Any], Iterable[Any]] = iter
        self.batches = self._counted(self.dataloader, "Validation")
        self.resting: tuple[str, ...] = ()
        self._opened: list[tuple[Any, CountedBatches]] = []

    def _counted(self, loader: Any, title: str) -> CountedBatches:
        return CountedBatches(loader, self.runner.logger, title, lambda each: self.read(each))

    def _open(self, loader: Any, title: str) -> CountedBatches:
        """Return the batches of a loader or its config; of the same one, always the same object."""
        for known, batches in self._opened:
            if known is loader or (isinstance(loader, Mapping) and known == loader):
                return batches
        runner = self.runner
        built = runner.build_dataloader(loader, seed=runner.seed) if isinstance(loader, Mapping) else loader
        self._opened.append((loader, self._counted(built, title)))
        return self._opened[-1][1]

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
        hooks = self.runner._hooks
        self.runner._hooks = [each for each in hooks if not must_wait(each, metrics, self)]
        try:
            hook(f"after_{stage}_epoch", metrics=metrics)
        finally:
            self.runner._hooks = hooks
        hook(f"after_{stage}")
        return metrics

    def measure(self) -> dict[str, Any]:
        """Return what the evaluators measure of the model, which is in evaluation mode; all processes call it together.

        Raises:
            UsageError: two metrics of one name, or a value that a checkpoint could not hold.
        """
        due = {name: each for name, each in self.evaluators.items() if is_due(each.every, self.runner, self)}
        self.resting = tuple(name for name in self.evaluators if name not in due)
        runner, metrics = self.runner, {}
        shared = Shared(runner.bare_model, self._open, runner.trained_classes, self.bank_dataloader, runner.call_hook)
        for name, evaluator in due.items():
            found = evaluator.measure(runner.bare_model, self._data_of(name, evaluator, shared))
            for metric, value in full_names(self.evaluators, name, found).items():
                if metric in metrics:
                    raise UsageError(
                        f"The evaluator {name} gives `{metric}`, which is there already: give it a prefix, such as "
                        f"val_cfg.evaluators.{name}.prefix={name}."
                    )
                metrics[metric] = plain_value(name, metric, value)
        return metrics

    def _data_of(self, name: str, evaluator: BaseEvaluator, shared: Shared) -> EvaluationData:
        loader = evaluator.dataloader
        return EvaluationData(self.batches if loader is None else self._open(loader, f"Data of {name}"), shared)

    def _with_evaluator(self, measured: dict[str, Any]) -> dict[str, Any]:
        if not self.evaluator.metrics:
            return measured
        for data in map(own_part, self.batches):
            if data is not None:
                predicted = self.runner.bare_model.val_step(dict(data))
                self.evaluator.process(data_samples=predicted, data_batch=data)
        return compute(self.evaluator, len(self.dataloader.dataset), measured)

    def report_broken(self) -> None:
        """Log the broken files that were met; all processes call it together.

        Raises:
            UsageError: there are too many.
        """
        for batches in (self.batches, *(each for _, each in self._opened)):
            batches.report()

    def report(self, folder: Path) -> dict[str, Any]:
        """Write to a folder what the metrics leave out, and return what JSON can hold of it.

        An evaluator whose files another one writes too has a folder of its own there, called by its prefix.
        """
        found: dict[str, Any] = {}
        for name, evaluator in self.evaluators.items():
            written = evaluator.report(folder_of(self.evaluators, name, folder))
            found |= full_names(self.evaluators, name, written)
        return found


class EarlierValLoop(ValLoop):
    """Base of the loops of 0.1 that measure with one evaluator of their own; a subclass has the name of one.

    Args:
        runner, dataloader, evaluator: see `ValLoop`.
        evaluators: not used; a config that inherits from one with evaluators has them.
        bank_dataloader: not used, as `evaluators`.
    """

    def __init__(
        self,
        runner: RunnerLike,
        dataloader: Any,
        evaluator: Any = None,
        evaluators: Mapping[str, Any] | None = None,
        bank_dataloader: Any = None,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, evaluators_of(type(self), {}, evaluators))


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


def needs_features_alone(loop: Any) -> bool:
    """Return whether all that a loop measures are features, so that the encoder is all that counts of a checkpoint."""
    evaluators = getattr(loop, "evaluators", {}).values()
    on_features = all(isinstance(each, FeatureEvaluator) for each in evaluators)
    return bool(evaluators) and on_features and not loop.evaluator.metrics


@LOOPS.register_module()
class PretrainValLoop(ValLoop):
    """`ValLoop` with the evaluators `loss` and `knn`, as configs of 0.1 name it; see `LossEvaluator`, `KnnEvaluator`.

    Args:
        runner: the runner.
        dataloader: loader or config of the validation data.
        bank_dataloader: loader or config of the labelled neighbours; None leaves kNN out.
        k, temperature: see `KnnEvaluator`.
        linear_probe: add a `LinearProbeEvaluator`.
        evaluator: further metrics, see `ValLoop`.
        evaluators: not used; a config that inherits from one with evaluators has them.
    """

    def __init__(
        self,
        runner: RunnerLike,
        dataloader: Any,
        bank_dataloader: Any = None,
        k: Count = 20,
        temperature: Positive = 0.07,
        linear_probe: bool = False,
        evaluator: Any = None,
        evaluators: Mapping[str, Any] | None = None,
    ) -> None:
        own = {"k": k, "temperature": temperature, "linear_probe": linear_probe}
        chosen = evaluators_of(type(self), own, evaluators)
        super().__init__(runner, dataloader, evaluator, chosen, bank_dataloader)


@LOOPS.register_module()
class KnnValLoop(PretrainValLoop):
    """`ValLoop` with the evaluator `knn`, as configs of 0.1 name it.

    Args:
        runner, dataloader, bank_dataloader, k, temperature, linear_probe, evaluator, evaluators: see `PretrainValLoop`.
    """
