"""kNN and a linear probe on a user's images, beside what a guess and the pixels give."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from maetool.data.datasets.labels import Labels, aligned, describe_balance, labels_of
from maetool.errors import UsageError
from maetool.evaluation import pixel_features
from maetool.ops.geometry import by
from maetool.pretrained.extract import build_for, extract
from maetool.pretrained.frozen import features_of

Metrics = dict[str, dict[str, float]]


class QuickEvaluation:
    """Measures encoders on two sets of labelled images.

    Args:
        train, val: what says where the images to learn from are, and those that are asked.
        pool: see `features_of`.
        k: neighbours that vote.
        batch_size, workers: see `extract`.
        sizes: further sizes (H, W) of the images that are asked; those to learn from keep the size of the encoder.

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
            raise UsageError(f"k is {k}: give a number of neighbours, at least 1.")
        self.places, self.pool, self.k = {"learn": train, "ask": val}, pool, k
        self.sizes, self.loading = sizes, {"batch_size": batch_size, "workers": workers}
        self.balance: dict[str, str] = {}

    def run(self, models: Mapping[str, nn.Module]) -> Metrics:
        """Return title to metrics in percent.

        Args:
            models: prefix of the titles to what `load_frozen` returned; with the first one the pixels are measured too.

        Raises:
            UsageError: images without labels, a class without images, or one that there is nothing to learn from.
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
                found = evaluate_features(bank, query, classes, name, self.k)
                where = " on pixels" if name == "pixels" else ""
                results |= {f"{prefix}{title}{where}": metrics for title, metrics in found.items()}
            features.pop("pixels", None)
            for size in self.sizes:
                query, _ = self._collect("ask", model, features, prefix, classes, size)
                found = evaluate_features(bank, query, classes, "features", self.k)
                results |= {f"{prefix}{title} at {by(size)}": metrics for title, metrics in found.items()}
        return results

    def describe(self) -> str:
        """Return two lines on the images that were used."""
        return "\n".join(f"to {use}: {said}" for use, said in self.balance.items())

    def _collect(
        self,
        use: str,
        model: nn.Module,
        features: Mapping[str, Any],
        prefix: str,
        classes: Sequence[str] = (),
        size: Sequence[int] | None = None,
    ) -> tuple[dict[str, Tensor], Sequence[str]]:
        dataset = build_for(model, self.places[use], size)
        labels = labels_of(dataset)
        classes = classes or labels.classes
        self.balance[use] = describe_balance(labels if use == "learn" else _present(labels))
        at = f" at {by(size)}" if size else ""
        found = extract(model, dataset, features, f"{prefix}images to {use}{at}", **self.loading)
        broken = len(dataset) - len(found["index"])
        self.balance[use] += f" {broken:,} of them cannot be read and do not count." * bool(broken)
        return {**found, "label": aligned(Labels(labels.classes, found["label"]), classes)}, classes


def _present(labels: Labels) -> Labels:
    """Return the labels without the classes that no image has."""
    several = labels.values.ndim == 2
    used = labels.values.any(dim=0) if several else labels.values.bincount(minlength=len(labels.classes)) > 0
    classes = [name for name, present in zip(labels.classes, used.tolist(), strict=True) if present]
    return Labels(classes, labels.values[:, used] if several else used.cumsum(0)[labels.values] - 1)


def to_text(found: Metrics) -> str:
    """Return the metrics as a table."""
    columns = list(next(iter(found.values())))
    titles = [name.replace("_", " ").replace("top1", "top-1 accuracy").replace("auroc", "AUROC") for name in columns]
    lines = [" " * 40 + "".join(f"{title:>24}" for title in titles)]
    lines += [f"{title:<40}" + "".join(f"{m[name]:>22.1f} %" for name in columns) for title, m in found.items()]
    return "\n".join(lines)
