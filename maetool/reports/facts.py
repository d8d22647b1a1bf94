"""What the folder of a run holds: logs, config, versions, checkpoint, command."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine import Config

from maetool.config.names import flatten, name_of
from maetool.errors import UsageError
from maetool.evaluation.names import MetricName, headlines
from maetool.metadata.stored_config import read_config
from maetool.visualization.curves import Logs, read_logs
from maetool.visualization.curves import runs_in as runs_in
from maetool.weights.read import read_checkpoint
from maetool.weights.work_dir import newest_readable

from .command import Command, read_command

_SEED = re.compile(r"seed_\d+")
# Keys that differ between runs that are repetitions of each other.
_OF_A_RUN = {"randomness", "work_dir", "resume", "load_from", "launcher", "experiment_name", "log_to", "visualizer"}


@dataclass(frozen=True)
class RunFacts:
    """What a run left in its folder.

    Attributes:
        folder: of the run.
        logs: {step: value} by name.
        checkpoint: the newest one that can be read; None without one.
        meta: its metadata, without tensors.
        config: the complete config of the run, from the checkpoint; empty without one.
        command: that started the run, if it was kept.
        problems: sentences on what could not be read.
    """

    folder: Path
    logs: Logs
    checkpoint: Path | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    command: Command | None = None
    problems: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The name of the run, that of its row for a seed of a comparison."""
        return self.folder.parent.name if _SEED.fullmatch(self.folder.name) else self.folder.name

    @property
    def metrics(self) -> dict[str, MetricName]:
        """The headline metrics of the validations, by name in the logs."""
        names = [name.removeprefix("val/") for name in self.logs if name.startswith("val/")]
        return {f"val/{name}": entry for name, entry in headlines(names).items()}

    @property
    def values(self) -> list[tuple[str, str]]:
        """Each value of the config: its path as --cfg-options writes it, and the value; empty without a config."""
        if not self.config:
            return []
        return [(name_of(key), repr(value)) for key, value in flatten(Config(dict(self.config))).items()]

    @property
    def repeated(self) -> str:
        """What is equal in runs that differ in their seed only."""
        if not self.config:
            return str(self.folder.parent if _SEED.fullmatch(self.folder.name) else self.folder)
        return json.dumps({k: v for k, v in self.config.items() if k not in _OF_A_RUN}, sort_keys=True, default=repr)


def read_facts(folder: Path) -> RunFacts:
    """Return what the `folder` of a run holds.

    Raises:
        UsageError: it holds no logs.
    """
    folder = folder.resolve()
    logs = read_logs(folder)
    if not logs:
        raise UsageError(
            f"{folder} holds no logs of a run: pass work folders, such as work_dirs/mae_vit-b_800e, or the folder that "
            "`maetool compare` wrote."
        )
    problems: list[str] = []
    try:
        checkpoint = newest_readable(folder, problems.append)
        meta = (read_checkpoint(checkpoint, "meta").get("meta") or {}) if checkpoint else {}
        config = read_config(meta)
    except UsageError as error:
        return RunFacts(folder, logs, problems=[*problems, str(error)])
    return RunFacts(folder, logs, checkpoint, meta, config, read_command(folder), problems)


def grouped(runs: Sequence[RunFacts]) -> dict[str, list[RunFacts]]:
    """Return runs by name, those that differ in their seed only together; equal names of others are numbered."""
    groups: dict[str, list[RunFacts]] = {}
    for run in runs:
        groups.setdefault(run.repeated, []).append(run)
    named: dict[str, list[RunFacts]] = {}
    for group in groups.values():
        name, number = group[0].name, 2
        while name in named:
            name, number = f"{group[0].name} ({number})", number + 1
        named[name] = group
    return named


def differences(groups: Mapping[str, Sequence[RunFacts]]) -> list[list[str]]:
    """Return a row for each config value in which groups differ: its path, and the value of each group.

    A group whose config is not known has empty cells, and does not differ.
    """
    flat = [dict(group[0].values) for group in groups.values()]
    names = dict.fromkeys(name for values in flat for name in values)
    names = {name: None for name in names if name[0] != "_" and name.split(".")[0] not in _OF_A_RUN}
    rows = ([name, *(values.get(name, "") for values in flat)] for name in names)
    known = [number for number, values in enumerate(flat, 1) if values]
    return [row for row in rows if len({row[number] for number in known}) > 1]
