"""Log histories as plain tensors, the form in which checkpoints hold them."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor


def plain_histories(hub: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a message hub with its histories as tensors."""
    return {**hub, "log_scalars": {name: _to_plain(history) for name, history in hub["log_scalars"].items()}}


def _to_plain(history: HistoryBuffer) -> dict[str, Tensor]:
    values, counts = history.data
    return {"history": torch.from_numpy(values.copy()), "counts": torch.from_numpy(counts.copy())}


def history_from_plain(value: Mapping[str, Tensor]) -> HistoryBuffer:
    """Return the log history that `plain_histories` turned into `value`, tensors by name."""
    return HistoryBuffer(value["history"].tolist(), value["counts"].tolist())
