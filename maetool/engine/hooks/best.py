"""Keeps the checkpoint with the best value of a validation metric."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process

from maetool.errors import UsageError
from maetool.evaluation.names import is_better_when, metric_name
from maetool.evaluation.prefixes import may_come
from maetool.protocols import RunnerLike
from maetool.writing import remove_file

from .tolerance import training_goes_on

_SCORE, _FILE = "best_score", "best_ckpt"  # in the message hub, as MMEngine's CheckpointHook has them
_NAME = "best_metric"  # what "auto" chose
_WATCHED = {"EarlyStoppingHook": "monitor", "CheckpointHook": "save_best"}  # hooks of MMEngine


class BestCheckpoint:
    """The checkpoint of the best value of a metric so far; it outlives a resume.

    Args:
        metric: a name of the validation's metrics, or "auto" for the first of them that has a rule.
        rule: "greater" or "less"; None knows it for maetool's own metrics.

    Raises:
        UsageError: another rule.
    """

    def __init__(self, metric: str, rule: str | None = None) -> None:
        if rule not in (None, "greater", "less"):
            raise UsageError(f'rule is {rule!r}, but must be "greater" or "less", or None for a metric of maetool.')
        self.metric, self.rule = metric, rule

    def update(self, runner: RunnerLike, metrics: dict[str, Any]) -> None:
        """Write a checkpoint if the metric is better than before, and remove the one before.

        A validation in which it is not the turn of the evaluator that gives the metric changes nothing.

        Raises:
            UsageError: the validation has no such metric, or it is not known when that is better.
        """
        hub, chosen = runner.message_hub, self._chosen(runner)
        if chosen not in metrics and chosen != "auto" and may_come(chosen, runner.val_loop):
            return
        name, rule = self._choose(chosen, metrics)
        value = metrics[name]
        before = hub.runtime_info.get(_SCORE)
        if before is not None and not (value > before if rule == "greater" else value < before):
            return
        old = hub.runtime_info.get(_FILE)
        hub.update_info(_SCORE, value)
        if self.metric == "auto":
            hub.update_info(_NAME, name)
        loop = runner.train_loop
        place = f"epoch_{runner.epoch}" if getattr(loop, "by_epoch", True) else f"iter_{runner.iter}"
        path = Path(runner.work_dir) / f"best_{name.replace('/', '_')}_{place}.pth"
        hub.update_info(_FILE, path.name)
        meta = {"epoch": runner.epoch, "iter": runner.iter}
        runner.save_checkpoint(runner.work_dir, path.name, save_optimizer=False, meta=meta)
        runner.logger.info("The best %s so far, %.4f, is saved as %s.", name, value, path.name)
        if old and old != path.name and is_main_process():
            with training_goes_on(runner, f"Removing {old}"):
                remove_file(path.with_name(old))

    def _chosen(self, runner: RunnerLike) -> str:
        """Return the metric; "auto" until it has chosen one, which it then keeps."""
        return runner.message_hub.runtime_info.get(_NAME, "auto") if self.metric == "auto" else self.metric

    def _choose(self, chosen: str, metrics: dict[str, Any]) -> tuple[str, str]:
        given = ", ".join(metrics) or "none"
        if chosen == "auto":
            name = next((name for name in metrics if self.rule or is_better_when(name)), None)
        else:
            name = chosen if chosen in metrics else None
        if name is None:
            raise UsageError(f"save_best is {self.metric!r}, but the validation gives {given}: name one of these.")
        rule = self.rule or is_better_when(name)
        if not rule:
            raise UsageError(
                f'save_best is {name!r}, and maetool does not know when that is better: add rule="greater" or '
                'rule="less".'
            )
        return name, rule


def with_rule(hook: Any) -> Any:
    """Return the config of a hook of MMEngine's that follows a metric, with the rule of the table of names.

    MMEngine infers it from parts of the name, and knows neither kNN nor a metric of a plugin.
    """
    if not isinstance(hook, Mapping) or hook.get("rule") is not None:
        return hook
    kind = hook.get("type")
    metric = hook.get(_WATCHED.get(getattr(kind, "__name__", str(kind)).rpartition(".")[2], ""))
    entry = metric_name(metric) if isinstance(metric, str) else None
    return {**hook, "rule": entry.better} if entry is not None and entry.better else hook
