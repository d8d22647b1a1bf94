"""A row of a sweep: what is trained with each seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine import Config

from maetool.config.load import load_for

FINETUNED = "finetuned"  # folder inside of a run's


@dataclass(frozen=True)
class Row:
    """A config and options, trained once with each seed, on its own data or on that of `data`.

    Attributes:
        config: path or name.
        options: each `key=value`.
        data: images in place of the config's own.
        finetune: what is trained next, from the encoder that the training leaves; its own results follow.
        heading: before the titles of the results, of which only the main ones are then kept.
    """

    config: str
    options: Sequence[str] = ()
    data: str | None = None
    finetune: "Row | None" = None
    heading: str = ""

    def load(self) -> Config:
        """Return the config as its training reads it."""
        return load_for(self.config, self.options, self.data)[0]

    def settings(self) -> dict[str, Any]:
        """Return what decides the results, as `result.json` stores it."""
        settings = {"config": self.config, "options": list(self.options), "data": self.data}
        return settings | ({"finetune": self.finetune.settings()} if self.finetune else {})
