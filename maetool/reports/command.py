"""The command that started a run and the origins of its config, kept beside its logs for a report."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from maetool.reading import read_file
from maetool.writing import write_text

_FILE = "command.json"
_LARGEST = 2**20  # bytes


@dataclass(frozen=True)
class Command:
    """A command line of `maetool train`, and what its config consists of.

    Attributes:
        arguments: what followed `maetool train`.
        origins: path of each config value, such as "model.encoder.depth", to the file and line, or the option, that
            sets it.
    """

    arguments: Sequence[str]
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The command as it is typed."""
        return shlex.join(["maetool", "train", *self.arguments])


def record_command(folder: str | Path, command: Command) -> None:
    """Write `command` to the `folder` of a run's logs."""
    write_text(Path(folder, _FILE), json.dumps(asdict(command), indent=1) + "\n")


def read_command(work_dir: Path) -> Command | None:
    """Return the command that first started the run in `work_dir`; None if it was not kept, or is damaged."""
    for path in sorted(work_dir.glob(f"*/vis_data/{_FILE}")):
        try:
            content = json.loads(read_file(path, _LARGEST))
            command = Command(content["arguments"], content["origins"])
            texts = [*command.arguments, *command.origins, *command.origins.values()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        if isinstance(command.arguments, list) and all(isinstance(text, str) for text in texts):
            return command
    return None
