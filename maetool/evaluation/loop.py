"""The evaluation loop, which runs evaluators, and the loops that configs of 0.1 name."""

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
from .precision import Precision, evaluated_in
from .prefixes import build_evaluators, folder_of, full_names, must_wait


@LOOPS.register_module()
class ValLoop(BaseLoop):
    """Runs its evaluators and returns their metrics as one dict.

    Metrics exclude images that replace broken files. Each broken file is logged once, and more than the dataset's
    `max_broken` end the run.

    In training, an evaluator with `every=n` measures when the number of completed epochs, or iterations, is a multiple
    of n validation intervals, which includes the validation before the first step, and at the end; so a resumed run
    measures at the same points. Outside training, all evaluators measure.

    Metrics of `val_evaluator` are computed in an additional pass over the data: each gets the batch of the loader and,
    as `data_samples`, the predictions of the model's `val_step`, a list with an entry for each image.

    Args:
        runner: the runner.
        dataloader: loader or config of the validation data.
        evaluator: MMEngine's metrics, registered in `METRICS`: a config, a list, or an `Evaluator`.
        evaluators: evaluators by name, each a `BaseEvaluator` or its config, in the order of measuring; an entry that
            is None is left out.
        bank_dataloader: loader or config of labelled bank images, for all evaluators without their own.
        precision: of the model's forward passes: "auto", bfloat16 on accelerators and float32 on CPUs; or one of these.

    Attributes:
        batches: the batches of the validation data, which can be read several times.
        read: returns the batches of a loader for one pass; during training the pass ends when a stop is requested.
        resting: names of the evaluators that were not due in the last validation.

    Raises:
        UsageError: an unknown metric or evaluator, or a runner that is not maetool's.
    """

    part_registries: ClassVar[Mapping[str, Any]] = {"evaluators": METRICS}

    def __init__(
        self,
        runner: RunnerLike,
        dataloader: Any,
        evaluator: Any = None,
        evaluators: Mapping[str, Any] | None = None,
        bank_dataloader: Any = None,
        precision: Precision = "auto",
    ) -> None:
        check_runner(type(self).__name__, runner)
        super().__init__(runner, dataloader)
        self.precision = precision
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
        """Return the batches of a loader or its config; the same object for the same loader."""
        for known, batches in self._opened:
            if known is loader or (isinstance(loader, Mapping) and known == loader):
                return batches
        runner = self.runner
        built = runner.build_dataloader(loader, seed=runner.seed) if isinstance(loader, Mapping) else loader
        self._opened.append((loader, self._counted(built, title)))
        return self._opened[-1][1]

    @torch.no_grad()
    def run(self) -> dict[str, Any]:
        """Measure, pass the metrics to the hooks, and return them."""
        hook, model = self.runner.call_hook, self.runner.model
        stage = "test" if self.runner._test_loop is self else "val"
        hook(f"before_{stage}")
        hook(f"before_{stage}_epoch")
        training = model.training
        model.eval()
        with gathered(self.runner.bare_model), evaluated_in(self.runner.bare_model, self.precision):
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
        """Return the metrics of all evaluators that are due; the model must be in evaluation mode.

        All processes must call it together.

        Raises:
            UsageError: two metrics have the same name, or a value cannot be stored in a checkpoint.
        """
        due = {name: each for name, each in self.evaluators.items() if is_due(each.every, self.runner, self)}
        self.resting = tuple(name for name in self.evaluators if name not in due)
        runner, metrics = self.runner, {}
        shared = Shared(runner.bare_model, self._open, runner.trained_classes, self.bank_dataloader, runner.call_hook)
        for name, evaluator in due.items():
            measured = evaluator.measure(runner.bare_model, self._data_of(name, evaluator, shared))
            for metric, value in full_names(self.evaluators, name, measured).items():
                if metric in metrics:
                    raise UsageError(
                        f"The evaluator {name} returns `{metric}`, a name that is already taken: give it a prefix, "
                        f"such as val_cfg.evaluators.{name}.prefix={name}."
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
        """Log the broken files of this validation; all processes must call it together.

        Raises:
            UsageError: too many files are broken.
        """
        for batches in (self.batches, *(each for _, each in self._opened)):
            batches.report()

    def report(self, folder: Path) -> dict[str, Any]:
        """Write details of the last measurement to a folder, and return those that JSON can represent.

        If two evaluators write files of the same names, each has a subfolder, named by its prefix.
        """
        reports: dict[str, Any] = {}
        for name, evaluator in self.evaluators.items():
            written = evaluator.report(folder_of(self.evaluators, name, folder))
            reports |= full_names(self.evaluators, name, written)
        return reports


class EarlierValLoop(ValLoop):
    """Base of the loops of 0.1 with one fixed evaluator; a subclass has the name of one of them.

    Args:
        runner, dataloader, evaluator: see `ValLoop`.
        evaluators, bank_dataloader: not used, with a warning; a config may inherit them from its base.
    """

    def __init__(
        self,
        runner: RunnerLike,
        dataloader: Any,
        evaluator: Any = None,
        evaluators: Mapping[str, Any] | None = None,
        bank_dataloader: Any = None,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, evaluators_of(type(self), {}, evaluators, bank_dataloader))


def check_runner(loop: str, runner: Any) -> None:
    """Check that a loop of maetool runs under a runner of maetool.

    Raises:
        UsageError: the runner is not maetool's.
    """
    if not hasattr(runner, "bare_model"):
        raise UsageError(
            f"{loop} runs under MaetoolRunner, but this is a {type(runner).__name__}: add runner_type="
            '"MaetoolRunner" to the config and build it with RUNNERS.build(cfg), or use the loops of MMEngine.'
        )


def needs_features_alone(loop: Any) -> bool:
    """Return whether a loop measures only features, so that the encoder of a checkpoint suffices."""
    evaluators = getattr(loop, "evaluators", {}).values()
    on_features = all(isinstance(each, FeatureEvaluator) for each in evaluators)
    return bool(evaluators) and on_features and not loop.evaluator.metrics


@LOOPS.register_module()
class PretrainValLoop(ValLoop):
    """`ValLoop` with the evaluators `loss` and `knn`, as configs of 0.1 name it; see `LossEvaluator`, `KnnEvaluator`.

    Args:
        runner: the runner.
        dataloader: loader or config of the validation data.
        bank_dataloader: loader or config of the labelled bank images; without it kNN is not measured.
        k, temperature: see `KnnEvaluator`.
        linear_probe: add a `LinearProbeEvaluator`.
        evaluator: further metrics, see `ValLoop`.
        evaluators: not used, with a warning; a config may inherit them from its base.
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
