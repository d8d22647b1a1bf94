"""Formats the progress lines of training, and collects the values for the JSON logs."""

import datetime
from math import nan
from typing import Any

import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import LogProcessor

from maetool import compat
from maetool.annotations import Count
from maetool.engine.optim.wrapper import report_of
from maetool.ops.peaks import present_peak
from maetool.protocols import RunnerLike
from maetool.registry import LOG_PROCESSORS

_KEPT = 1000  # values per history; MMEngine keeps a million and copies all of them at every step


@LOG_PROCESSORS.register_module()
class PretrainLogProcessor(LogProcessor):
    """One line per report: progress, loss and that of a constant predictor, learning rate, speed, waiting, time left.

    Args:
        window_size: iterations that the loss and the times are averaged over.

    Attributes:
        operations: of a training step for one sample, for the share of a known device's peak; None, not counted.
    """

    def __init__(self, window_size: Count = 50) -> None:
        averaged = "loss|constant_predictor|time|grad_norm|masked_fraction|accuracy"
        averaged += "|objectness|boxes|classes|masks"  # parts of a detector's loss
        super().__init__(window_size=window_size, mean_pattern=f".*({averaged}).*")
        self.operations: float | None = None

    def get_log_after_iter(self, runner: RunnerLike, batch_idx: int, mode: str) -> tuple[dict[str, Any], str]:
        """Return the values for the JSON log and the line."""
        tag, plain = super().get_log_after_iter(runner, batch_idx, mode)
        if mode != "train":
            return tag, plain
        _trim(runner.message_hub.log_scalars)
        _add_speed(tag, runner, self.operations)
        tag["peak_memory_gb"] = peak_memory()
        tag["skipped_steps"] = report_of(runner.optim_wrapper).skipped
        line = (
            f"step {runner.iter + 1:,}/{runner.max_iters:,} (epoch {runner.epoch + 1}/{runner.max_epochs})"
            f" | loss {tag.get('loss', nan):.4f}{_constant(tag)}{_accuracy(tag)}"
            f" | lr {_of_each(tag, 'base_lr', 'lr', form='.2e')}{_grad_norm(tag)}{_speed(tag)}"
            f" | {tag['peak_memory_gb']:.1f} GB{_time_left(runner)}"
        )
        return tag, line


def _add_speed(tag: dict[str, Any], runner: RunnerLike, operations: float | None) -> None:
    if "time" in tag:  # a config may leave out IterTimerHook
        images = runner.train_dataloader.batch_size * runner.world_size
        tag["images_per_second"] = images / max(tag["time"], 1e-9)
        tag["waiting_share"] = tag["data_time"] / max(tag["time"], 1e-9)
        if operations and (peak := present_peak()):
            tag["share_of_peak"] = tag["images_per_second"] / runner.world_size * operations / peak


def _speed(tag: dict[str, Any]) -> str:
    if "time" not in tag:
        return ""
    share = f" ({tag['share_of_peak']:.0%} of the device's peak)" if "share_of_peak" in tag else ""
    return f" | {tag['images_per_second']:,.0f} images/s{share}, {tag['waiting_share']:.0%} waiting for data"


def _time_left(runner: RunnerLike) -> str:
    seconds = runner.message_hub.runtime_info.get("eta")
    return "" if seconds is None else f" | {datetime.timedelta(seconds=int(seconds))} left"


def _constant(tag: dict[str, Any]) -> str:
    return f", constant predictor {tag['constant_predictor']:.4f}" if "constant_predictor" in tag else ""


def _grad_norm(tag: dict[str, Any]) -> str:
    # Missing before the first optimiser step, which accumulation delays.
    norms = _of_each(tag, "grad_norm", form=".3g")
    return f" | grad norm {norms}" if norms else ""


def _of_each(tag: dict[str, Any], *keys: str, form: str) -> str:
    """Return the value of the only optimiser, or of each with its name; of several keys the first that is there."""
    names = dict.fromkeys(name[: -len(key)] for key in keys for name in tag if name == key or name.endswith(f".{key}"))
    values = {name: next(tag[name + key] for key in keys if name + key in tag) for name in names}
    return ", ".join(f"{name[:-1]} {value:{form}}".lstrip() for name, value in values.items())


def _accuracy(tag: dict[str, Any]) -> str:
    return f", accuracy {tag['accuracy']:.1f} %" if "accuracy" in tag else ""


def _trim(histories: dict[str, HistoryBuffer]) -> None:
    for name, buffer in list(histories.items()):
        values, counts = buffer.data
        if len(values) > 2 * _KEPT:
            histories[name] = HistoryBuffer(values[-_KEPT:].tolist(), counts[-_KEPT:].tolist())


def peak_memory() -> float:
    """Return the peak memory in GB, of the accelerator if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return compat.peak_memory() / 1e9
