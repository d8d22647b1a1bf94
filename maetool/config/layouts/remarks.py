"""What the log says of the parts of a user's data."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maetool.data.sources.part_names import CONTENT, part_among, part_of

_logger = logging.getLogger("maetool")


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in `folder`, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def tell_of_others(root: Path, parts: dict[str, Path]) -> None:
    """Say which folders of `root` beside the `parts` are not used, except those of labels."""
    others = [
        f"`{path.name}`" for path in folders_in(root) if part_of(path.name) is None and path not in parts.values()
    ]
    others = [name for name in others if name.strip("`").lower() not in CONTENT]
    if others:
        _logger.warning(
            "%s: %s are of no part and left out: name one of them in --data to use it alone.",
            *(root, ", ".join(others[:5])),
        )


def tell_of_alike(root: Path) -> None:
    """Say which folders of `root` are no parts although their names have the words of several."""
    parts = {folder.name: part for folder in folders_in(root) if (part := part_among(folder.name))}
    if len({*parts.values()}) > 1:
        _logger.warning(
            "%s: the folders %s are not taken for parts: if they are, rename them to train, val and test.",
            *(root, ", ".join(f"`{name}`" for name in list(parts)[:5])),
        )


def tell_of_parts(root: Path | str, parts: Sequence[str] | Any, validated: bool) -> None:
    """Say which parts are used, unless they are just a training and a validation part.

    Args:
        root: where they are.
        parts: their names, or name to path.
        validated: there is a part for validation.
    """
    names = {part: Path(parts[part]).name if isinstance(parts, dict) else part for part in parts}
    if "test" in parts:
        use = f"`{names['val']}` validates" if validated else "some training images are for validation"
        _logger.warning("%s: `%s` trains, %s, `%s` is left out.", root, names["train"], use, names["test"])
