"""kNN and a linear probe on a user's images, compared with a guess and with raw pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from maetool.data.datasets.labels import Labels, aligned, describe_balance, labels_of, present
from maetool.errors import UsageError
from maetool.evaluation import pixel_features
from maetool.ops.geometry import format_size
from maetool.pretrained.extract import build_for, extract
from maetool.pretrained.frozen import features_of
from maetool.protocols import ModelLike

Metrics = dict[str, dict[str, float]]


class QuickEvaluation:
    """Measures encoders on two sets of labelled images.

    Args:
        train, val: dataset arguments that locate the images to fit on and those to predict.
        pool: see `features_of`.
        k: number of neighbours.
        batch_size, workers: see `extract`.
        sizes: additional sizes (H, W) of the images to predict; those to fit on keep the encoder's size.

    Raises:
        UsageError: fewer than one neighbour.
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
    ) -> None:
        if k < 1:
            raise UsageError(f"k is {k}, but must be a number of neighbours, at least 1.")
        self.places, self.pool, self.k = {"learn": train, "ask": val}, pool, k
        self.sizes, self.batch_size, self.workers = sizes, batch_size, workers
        self.balance: dict[str, str] = {}

    def run(self, models: Mapping[str, ModelLike]) -> Metrics:
        """Return metrics in percent by title.

        Args:
            models: results of `load_frozen`, by a prefix of the titles; raw pixels are measured with the first one.

        Raises:
            UsageError: images without labels, a class without images, or a class without images to fit on.
        """
        # Imported here because scikit-learn takes a second to import.
        from maetool.evaluation.feature_scores import evaluate_features, evaluate_guess

        results: Metrics = {}
        for number, (prefix, model) in enumerate(models.items()):
            features = {"features": features_of(model, self.pool)}
            features |= {} if number else {"pixels": pixel_features}
            bank, classes = self._collect("learn", model, features, prefix)
            query, _ = self._collect("ask", model, features, prefix, classes)
            if not number:
                results["guess from the shares of the classes"] = evaluate_guess(bank, query, classes)
            for name in sorted(features, reverse=True):
                scores = evaluate_features(bank, query, classes, name, self.k)
                where = " on pixels" if name == "pixels" else ""
                results |= {f"{prefix}{title}{where}": metrics for title, metrics in scores.items()}
            features.pop("pixels", None)
            for size in self.sizes:
                query, _ = self._collect("ask", model, features, prefix, classes, size)
                scores = evaluate_features(bank, query, classes, "features", self.k)
                results |= {f"{prefix}{title} at {format_size(size)}": metrics for title, metrics in scores.items()}
        return results

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
        labels = labels_of(dataset)
        classes = classes or labels.classes
        self.balance[use] = describe_balance(labels if use == "learn" else present(labels))
        at = f" at {format_size(size)}" if size else ""
        outputs = extract(model, dataset, features, f"{prefix}images to {use}{at}", self.batch_size, self.workers)
        broken = len(dataset) - len(outputs["index"])
        self.balance[use] += f" {broken:,} of them cannot be read and do not count." * bool(broken)
        return {**outputs, "label": aligned(Labels(labels.classes, outputs["label"]), classes)}, classes


def to_text(results: Metrics) -> str:
    """Return the metrics as a table.

    Args:
        results: a line of the table to its metrics, in percent, by name.
    """
    columns = list(next(iter(results.values())))
    titles = [name.replace("_", " ").replace("top1", "top-1 accuracy").replace("auroc", "AUROC") for name in columns]
    lines = [" " * 40 + "".join(f"{title:>24}" for title in titles)]
    lines += [f"{title:<40}" + "".join(f"{m[name]:>22.1f} %" for name in columns) for title, m in results.items()]
    return "\n".join(lines)
