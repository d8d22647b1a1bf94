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

_SCORE, _FILE = "best_score", "best_ckpt"  # names in the message hub, those of MMEngine's CheckpointHook
_NAME = "best_metric"  # the metric that "auto" chose
_WATCHED = {"EarlyStoppingHook": "monitor", "CheckpointHook": "save_best"}  # hooks of MMEngine, and the argument


class BestCheckpoint:
    """The checkpoint with the best value of a metric so far; the value survives a resume.

    Args:
        metric: the name of a validation metric, or "auto" for the first one that has a rule.
        rule: "greater" or "less", what is better; None uses maetool's table of metrics.

    Raises:
        UsageError: the rule is neither of these.
    """

    def __init__(self, metric: str, rule: str | None = None) -> None:
        if rule not in (None, "greater", "less"):
            raise UsageError(f'rule is {rule!r}, but must be "greater" or "less", or None for a metric of maetool.')
        self.metric, self.rule = metric, rule

    def update(self, runner: RunnerLike, metrics: dict[str, Any]) -> None:
        """Write a checkpoint if the metric has improved, and remove the previous best one.

        Nothing happens after a validation in which the metric's evaluator was not due.

        Args:
            runner: that trains.
            metrics: of this validation, by name.

        Raises:
            UsageError: the validation has no such metric, or its rule is unknown.
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
        """Return the metric; "auto" until one is chosen, which then stays."""
        return runner.message_hub.runtime_info.get(_NAME, "auto") if self.metric == "auto" else self.metric

    def _choose(self, chosen: str, metrics: dict[str, Any]) -> tuple[str, str]:
        given = ", ".join(metrics) or "none"
        if chosen == "auto":
            name = next((name for name in metrics if self.rule or is_better_when(name)), None)
        else:
            name = chosen if chosen in metrics else None
        if name is None:
            raise UsageError(
                f"save_best is {self.metric!r}, but the validation has the metrics {given}: choose one of these."
            )
        rule = self.rule or is_better_when(name)
        if not rule:
            raise UsageError(
                f'save_best is {name!r}, for which maetool has no rule of what is better: add rule="greater" or '
                'rule="less".'
            )
        return name, rule


def with_rule(hook: Any) -> Any:
    """Return the config of one of MMEngine's hooks that monitor a metric, with the rule of maetool's table of metrics.

    MMEngine infers the rule from parts of the name, and fails for kNN and for metrics of plugins.

    Args:
        hook: its config; that of any other hook comes back as it is.
    """
    if not isinstance(hook, Mapping) or hook.get("rule") is not None:
        return hook
    kind = hook.get("type")
    metric = hook.get(_WATCHED.get(getattr(kind, "__name__", str(kind)).rpartition(".")[2], ""))
    entry = metric_name(metric) if isinstance(metric, str) else None
    return {**hook, "rule": entry.better} if entry is not None and entry.better else hook
