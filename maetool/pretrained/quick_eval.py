"""kNN and a linear probe on a user's images, compared with a guess, raw pixels, HOG and the untrained encoder."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from torch import Tensor

from maetool.data.datasets.labels import Labels, aligned, describe_balance, labels_of, present
from maetool.errors import UsageError
from maetool.evaluation import hog_features, pixel_features
from maetool.ops.geometry import format_size
from maetool.pretrained.extract import build_for, extract
from maetool.pretrained.frozen import features_of
from maetool.protocols import ModelLike, NamedImages

Metrics = dict[str, dict[str, float]]
UNTRAINED = "untrained, "  # before the titles of the encoder with random weights
_BASELINES = {"pixels": " on pixels", "hog": " on HOG"}
_GUESS = {True: "guess from the shares of the classes", False: "guess of the mean"}
_CALLED = {UNTRAINED: "the untrained encoder", "pixels": "raw pixels", "hog": "HOG"}


class QuickEvaluation:
    """Measures encoders on two sets of labelled images.

    Args:
        train, val: dataset arguments that locate the images to fit on and those to predict.
        pool: see `features_of`.
        k: number of neighbours.
        batch_size, workers: see `extract`.
        sizes: additional sizes (H, W) of the images to predict; those to fit on keep the encoder's size.
        labels: numbers of images to fit on, None for all; each is drawn several times.
        draws: number of draws, at least 2.

    Attributes:
        spreads: after `run`, the spread of each metric over the draws, by title and name.

    Raises:
        UsageError: fewer than one neighbour or two draws.
    """

    def __init__(
        self,
        train: Mapping[str, Any],
        val: Mapping[str, Any],
        pool: str | None = None,
        k: int = 20,
        batch_size: int = 64,
        workers: int | None = None,
        sizes: Sequence[Sequence[int]] = (),
        labels: Sequence[int | None] = (None,),
        draws: int = 10,
    ) -> None:
        if k < 1:
            raise UsageError(f"k is {k}, but must be a number of neighbours, at least 1.")
        if draws < 2:
            raise UsageError(f"draws is {draws}, but must be at least 2, so that there is a spread.")
        self.labels, self.draws = labels, draws
        self.places, self.pool, self.k = {"learn": train, "ask": val}, pool, k
        self.sizes, self.batch_size, self.workers = sizes, batch_size, workers
        self.balance: dict[str, str] = {}
        self.spreads: Metrics = {}
        self._probes: dict[int | None, dict[str, Any]] = {}

    def run(self, models: Mapping[str, ModelLike]) -> Metrics:
        """Return metrics by title, in percent, or of numbers in their units.

        Args:
            models: results of `load_frozen`, by a prefix of the titles; raw pixels and HOG are measured with the first
                one, and `UNTRAINED` is the prefix of the encoder with random weights.

        Raises:
            UsageError: images without labels, a class without images or without images to fit on, or more labels than
                there are.
        """
        # Imported here because scikit-learn takes a second to import.
        from maetool.evaluation.few_labels import ClassTask, NumberTask, rare_classes

        results: Metrics = {}
        for number, (prefix, model) in enumerate(models.items()):
            features = {"features": features_of(model, self.pool)}
            features |= {} if number else {"pixels": pixel_features, "hog": hog_features}
            bank, classes = self._collect("learn", model, features, prefix)
            query, _ = self._collect("ask", model, features, prefix, classes)
            rare = rare_classes(bank["label"]) if classes else []
            self.balance["learn"] += f" Rare: {', '.join(classes[i] for i in rare)}." if rare else ""
            task: Any = ClassTask(classes, self.k, rare) if classes else NumberTask(self.k)
            if not number:
                guess = task.guess(bank).expand(len(query["label"]), -1)
                results[_GUESS[bool(classes)]] = task.metrics(guess, query)
            for name in sorted(features, key=lambda name: name == "features"):
                results |= self._judged(task, bank, query, name, prefix)
            for size in self.sizes:
                only = {"features": features["features"]}
                query, _ = self._collect("ask", model, only, prefix, classes, size)
                for title, predictor in task.predictors.items():
                    scores = predictor(bank["features"], bank["label"], query["features"])
                    results[f"{prefix}{title} at {format_size(size)}"] = task.metrics(scores, query)
        return results

    def _judged(self, task: Any, bank: Any, query: Any, name: str, prefix: str) -> Metrics:
        from maetool.evaluation.few_labels import judge

        results: Metrics = {}
        for labels in self.labels:
            judged = judge(task, bank, query, name, labels, self.draws)
            self._probes.setdefault(labels, {})[prefix if name == "features" else name] = judged["linear probe"]
            for title, judgement in judged.items():
                number = "" if labels is None else f", {labels:,} labels"
                full = f"{prefix}{title}{_BASELINES.get(name, '')}{number}"
                results[full] = judgement.values
                self.spreads[full] = {metric: judgement.spread(metric) for metric in judgement.values}
        return results

    def verdicts(self) -> list[str]:
        """Return for each number of labels a sentence on the linear probe of the first model, after `run`."""
        from maetool.evaluation.few_labels import verdict

        sentences = []
        for labels, probes in self._probes.items():
            own = next(judgement for name, judgement in probes.items() if name not in _CALLED)
            others = [verdict(own, probes[name], called) for name, called in _CALLED.items() if name in probes]
            sentences.append(f"With {'all' if labels is None else f'{labels:,}'} labels: {'; '.join(others)}.")
        return sentences

    def describe(self) -> str:
        """Return two lines on the images used."""
        return "\n".join(f"to {use}: {text}" for use, text in self.balance.items())

    def _collect(
        self,
        use: str,
        model: ModelLike,
        features: Mapping[str, Any],
        prefix: str,
        classes: Sequence[str] = (),
        size: Sequence[int] | None = None,
    ) -> tuple[dict[str, Tensor], Sequence[str]]:
        dataset = build_for(model, self.places[use], size)
        if getattr(dataset, "targets", None):
            labels, self.balance[use] = None, f"{len(dataset):,} images with numbers."
        else:
            labels, self.balance[use] = self._classes(dataset, use)
            classes = classes or labels.classes
        at = f" at {format_size(size)}" if size else ""
        outputs = extract(model, dataset, features, f"{prefix}images to {use}{at}", self.batch_size, self.workers)
        broken = len(dataset) - len(outputs["index"])
        self.balance[use] += f" {broken:,} of them cannot be read and do not count." * bool(broken)
        if labels is None:
            return outputs, ()
        return {**outputs, "label": aligned(Labels(labels.classes, outputs["label"]), classes)}, classes

    def _classes(self, dataset: NamedImages, use: str) -> tuple[Labels, str]:
        labels = labels_of(dataset)
        return labels, describe_balance(labels if use == "learn" else present(labels))


_HEADS = {
    "top1": "top-1 accuracy",
    "mean_class_accuracy": "mean class accuracy",
    "mean_auroc": "mean AUROC",
    "mean_average_precision": "average precision",
    "rare_average_precision": "AP of rare classes",
    "macro_f1": "macro F1",
    "r2": "R2",
    "mae": "mean abs. error",
    "rmse": "root mean sq. error",
}
_NUMBERS = ("r2", "mae", "rmse")


def to_text(results: Metrics, spreads: Metrics | None = None) -> str:
    """Return the metrics as a table.

    Args:
        results: a line of the table to its metrics, in percent or in the units of the numbers, by name.
        spreads: of some lines the spread of each metric over the draws.
    """
    columns = list(next(iter(results.values())))
    lines = [" " * 44 + "".join(f"{_HEADS.get(name, name.replace('_', ' ')):>20}" for name in columns)]
    for title, metrics in results.items():
        around = (spreads or {}).get(title, {})
        cells = [_cell(name, metrics.get(name, float("nan")), around.get(name)) for name in columns]
        lines.append(f"{title:<44}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def _cell(name: str, value: float, spread: float | None) -> str:
    if not isfinite(value):
        return "-"  # as of rare classes, of which no image is to be predicted
    known = spread is not None and isfinite(spread)
    around = "" if not known else f" +-{spread:.3g}" if name in _NUMBERS else f" +-{spread:.1f}"
    return f"{value:.3g}{around}" if name in _NUMBERS else f"{value:.1f} %{around}"


def judged_by(results: Metrics) -> str:
    """Return the name of the metric that the verdicts are about; `results` are those of `QuickEvaluation.run`."""
    from maetool.evaluation.few_labels import HEADLINES

    measured = next(metrics for title, metrics in results.items() if title.startswith("linear probe"))
    return next((_HEADS[name] for name in HEADLINES if isfinite(measured.get(name, float("nan")))), "no metric")


def with_spreads(results: Metrics, spreads: Metrics) -> Metrics:
    """Return metrics by title, each followed by its spread as `NAME_spread`.

    Args:
        results: of `QuickEvaluation.run`.
        spreads: of the same evaluation.
    """
    return {
        title: metrics | {f"{name}_spread": value for name, value in spreads.get(title, {}).items()}
        for title, metrics in results.items()
    }
