"""Repeats the rows of a sweep along an axis: shares of the labels, or values of an option."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from maetool.config.load import complete_config
from maetool.engine.launch import build_dataset
from maetool.errors import UsageError

from .results import METRICS, collect
from .rows import Row

Curves = dict[str, dict[float, list[float]]]


def over_labels(rows: Mapping[str, Row], shares: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Row]]:
    """Return, by share of the labels, the rows by name; each name contains row and share.

    Args:
        rows: rows by name.
        shares: additional options by share of the labels, such as "0.01".

    Raises:
        UsageError: a share is not a number above 0 and up to 1.
    """
    for share in shares:
        if not share.replace(".", "", 1).isdecimal() or not 0 < float(share) <= 1:
            raise UsageError(f"--labels got the share {share}: give a number above 0 and up to 1, such as 0.01.")
    return {
        share: {
            f"{name}_{share}": replace(
                row, options=[f"train_dataloader.dataset.labels_fraction={share}", *row.options, *more]
            )
            for name, row in rows.items()
        }
        for share, more in shares.items()
    }


def over_values(rows: Mapping[str, Row], sweep: str) -> tuple[str, dict[float, dict[str, Row]]]:
    """Return the key of a sweep and, by value, the rows by name; each name contains row, key and value.

    Args:
        rows: rows by name.
        sweep: "key=value,value,...", such as "model.masker.mask_ratio=0.25,0.5,0.75".

    Raises:
        UsageError: anything else, fewer than two values, a value that is no number or is there twice.
    """
    key, _, text = sweep.partition("=")
    words = [word.strip() for word in text.split(",")]
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if not key or len(set(values)) < 2 or len(set(values)) < len(values):
        raise UsageError(
            f"--sweep got {sweep}, but must be a key and two or more different numbers, such as "
            "model.masker.mask_ratio=0.25,0.5,0.75; use --run for values that are no numbers."
        )
    short = key.rpartition(".")[2]
    planned = {
        value: {
            f"{name}_{short}_{word}": replace(row, options=[*row.options, f"{key}={word}"])
            for name, row in rows.items()
        }
        for value, word in sorted(zip(values, words, strict=True))
    }
    return key, planned


def label_curves(
    rows: Mapping[str, Row], shares: Mapping[str, Mapping[str, Row]], out: Path
) -> tuple[str, dict[str, dict[int, list[float]]]]:
    """Return the first metric that was measured, and by row {number of labels: values of the seeds}.

    Args:
        rows: rows by name.
        shares: the result of `over_labels`.
        out: folder of all runs.
    """
    curves: dict[str, dict[str, dict[int, list[float]]]] = {}
    for planned in shares.values():
        results = collect(out, list(planned))
        for name, (full, row) in zip(rows, planned.items(), strict=True):
            number = _count_images(row)
            for title, values in results[full].items():
                if values:
                    curves.setdefault(title, {}).setdefault(name, {})[number] = values
    return next(((title, curves[title]) for title in (*METRICS, *curves) if title in curves), ("", {}))


def value_curves(
    rows: Mapping[str, Row], planned: Mapping[float, Mapping[str, Row]], out: Path
) -> tuple[str, Curves, list[float]]:
    """Return the first metric that was measured, by row {value: results of the seeds}, and those of untrained encoders.

    Args:
        rows: rows by name.
        planned: the result of `over_values`.
        out: folder of all runs.
    """
    curves: dict[str, Curves] = {}
    for value, share in planned.items():
        results = collect(out, list(share))
        for name, full in zip(rows, share, strict=True):
            for title, values in results[full].items():
                if values:
                    curves.setdefault(title, {}).setdefault(name, {})[value] = values
    title = next((title for title in (*METRICS, *curves) if title in curves), "")
    before = curves.get(f"untrained {title}", {})
    return title, curves.get(title, {}), [each for row in before.values() for seeds in row.values() for each in seeds]


def _count_images(row: Row) -> int:
    cfg = row.load()
    complete_config(cfg)
    return len(build_dataset(cfg, "train_dataloader"))
