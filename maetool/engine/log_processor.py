"""What a person reads while training runs, and what goes to the JSON logs."""

import datetime
from typing import Any

from mmengine.logging import HistoryBuffer
from mmengine.runner import LogProcessor

from maetool.registry import LOG_PROCESSORS

_KEPT = 1000  # values of a history; MMEngine keeps a million and copies them all at every step


@LOG_PROCESSORS.register_module()
class PretrainLogProcessor(LogProcessor):
    """One line a report: progress, loss beside that of a constant predictor, rate, speed, waiting, time left.

    Args:
        window_size: iterations that the loss and the times are averaged over.
    """

    def __init__(self, window_size: int = 50) -> None:
        super().__init__(window_size=window_size, mean_pattern=r".*(loss|constant_predictor|time|grad_norm).*")

    def get_log_after_iter(self, runner: Any, batch_idx: int, mode: str) -> tuple[dict[str, Any], str]:
        """Return the values for the JSON log and the line."""
        tag, _ = super().get_log_after_iter(runner, batch_idx, mode)
        if mode != "train":
            return tag, ""
        _trim(runner.message_hub.log_scalars)
        loader = runner.train_dataloader
        tag["images_per_second"] = loader.batch_size * runner.world_size / max(tag["time"], 1e-9)
        tag["waiting_share"] = tag["data_time"] / max(tag["time"], 1e-9)
        eta = datetime.timedelta(seconds=int(runner.message_hub.get_info("eta")))
        line = (
            f"step {runner.iter + 1:,}/{runner.max_iters:,} (epoch {runner.epoch + 1}/{runner.max_epochs})"
            f" | loss {tag['loss']:.4f}, constant predictor {tag.get('constant_predictor', float('nan')):.4f}"
            f" | lr {tag['lr']:.2e} | {tag['images_per_second']:,.0f} images/s"
            f" | {tag['waiting_share']:.0%} waiting for data | {eta} left"
        )
        return tag, line


def _trim(histories: dict[str, HistoryBuffer]) -> None:
    for name, buffer in list(histories.items()):
        values, counts = buffer.data
        if len(values) > 2 * _KEPT:
            histories[name] = HistoryBuffer(values[-_KEPT:].tolist(), counts[-_KEPT:].tolist())
