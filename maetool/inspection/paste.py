"""The commands that train on a data set, with the options that it asks for."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_CONFIGS = {
    "pretraining": "maetool::mae/vit-b_800e.py",
    "classification": "maetool::finetune/vit-b_100e.py",
    "regression": "maetool::finetune/regression_vit-t_shapes.py",
    "segmentation": "maetool::segmentation/linear_vit-b_ade20k_40k.py",
    "detection": "maetool::detection/vitdet_mask-rcnn_vit-b_own_50e.py",
}
# RandAugment, of the published recipe, changes 8-bit pictures of three channels alone.
_PLAIN = "train_dataloader.dataset.pipeline=[{'type':'RandomResizedCrop'},{'type':'RandomHorizontalFlip'}]"
_PREFIX = {"train": "train_dataloader", "all": "train_dataloader", "val": "val_dataloader"}


@dataclass(frozen=True)
class Command:
    """A training.

    Attributes:
        task: what is trained.
        config: its config.
        data: for `--data`.
        options: for `--cfg-options`, each `key=value`.
    """

    task: str
    config: str
    data: str
    options: list[str]

    @property
    def words(self) -> list[str]:
        """The command line, word for word."""
        words = ["maetool", "train", self.config, "--data", self.data]
        return words + (["--cfg-options", *self.options] if self.options else [])

    def to_text(self) -> str:
        """Return the command for a shell, an option a line."""
        lines = [shlex.join(["maetool", "train", self.config, "--data", self.data])]
        options = [shlex.quote(option) for option in self.options]
        if options:
            lines += [f"    --cfg-options {options[0]}", *(f"    {option}" for option in options[1:])]
        return " \\\n".join(lines)


def options_of(prefix: str, arguments: Mapping[str, Any]) -> list[str]:
    """Return `arguments` of a dataset as options that begin with `prefix`."""
    return [f"{prefix}.{name}={_value(value)}" for name, value in arguments.items()]


def _value(value: Any) -> str:
    return repr(list(value)).replace(", ", ",") if isinstance(value, list | tuple) else str(value)


def commands_for(
    task: str,
    data: str,
    pixels: Sequence[str],
    reading: Mapping[str, Any],
    truth: Mapping[str, Mapping[str, Any]],
    model: Sequence[str],
    pictures: bool,
) -> list[Command]:
    """Return the commands of pretraining, and of the task that the truth is for.

    Args:
        task: see `Layout`.
        data: what `--data` takes.
        pixels: options of channels, mean and deviation.
        reading: arguments of a dataset that say how its images are read.
        truth: part to arguments of a dataset that say what its truth is; those of a training part hold for validation.
        model: options of the model of the task.
        pictures: the images are 8-bit pictures of three channels.
    """
    shared = [*pixels, *options_of("train_dataloader.dataset", reading)]
    commands = [Command("pretraining", _CONFIGS["pretraining"], data, shared)]
    if task in _CONFIGS and task != "pretraining":
        plain = [_PLAIN] if task == "classification" and not pictures else []
        own = [option for part, arguments in truth.items() for option in _of_part(part, arguments)]
        commands.append(Command(task, _CONFIGS[task], data, [*shared, *own, *plain, *model]))
    return commands


def _of_part(part: str, arguments: Mapping[str, Any]) -> list[str]:
    return options_of(f"{_PREFIX[part]}.dataset", arguments) if part in _PREFIX else []
