"""Facts about an encoder beside its weights, in a checkpoint's metadata."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine import ConfigDict
from torch import Tensor

from maetool.config.facts import argument_of
from maetool.config.trust import trusted
from maetool.errors import UsageError
from maetool.metadata.stored_config import read_section
from maetool.ops.geometry import grid_of, rank_of, to_size
from maetool.registry import ENCODERS

from .beside import facts_of

_KERNEL = "encoder.patch_embed.proj.weight"


def section_in(meta: Any) -> ConfigDict | None:
    """Return the model section of a checkpoint's metadata, with its `encoder`; None without an encoder.

    Args:
        meta: metadata of the checkpoint; what is no mapping has no section.

    Raises:
        UsageError: it is not a valid section of a config.
    """
    if not isinstance(meta, Mapping):
        return None
    # An exported encoder may have another size than in the run's config, which is stored too.
    exported = {name: meta[name] for name in ("encoder", "data_preprocessor") if meta.get(name)}
    section = {**(read_section(meta, "model") or {}), **exported}
    for name in ("encoder", "data_preprocessor"):
        if not isinstance(section.get(name, {}), Mapping | None):
            raise UsageError(
                f"The checkpoint says that its {name} is {str(section[name])[:80]!r}, but it must be a dict of a type "
                "and its arguments: pass a config that describes it with --config."
            )
    return ConfigDict(section) if section.get("encoder") else None


def names_of_classes(meta: Any) -> list[str]:
    """Return the names of the classes that a checkpoint was trained on; empty if it has none.

    Args:
        meta: metadata of the checkpoint; what is no mapping has no names.

    Raises:
        UsageError: they are not names.
    """
    return _names_in(meta, "classes")


def names_of_targets(meta: Any) -> list[str]:
    """Return the names of the numbers that a checkpoint was trained to predict; empty if it has none.

    Args:
        meta: metadata of the checkpoint.

    Raises:
        UsageError: they are not names.
    """
    return _names_in(meta, "targets")


def _names_in(meta: Any, kind: str) -> list[str]:
    facts = meta.get("dataset_meta") if isinstance(meta, Mapping) else None
    names = facts.get(kind) if isinstance(facts, Mapping) else None
    if not isinstance(names or [], list | tuple) or not all(isinstance(name, str) for name in names or ()):
        raise UsageError(
            f"The checkpoint says that its {kind} are {str(names)[:80]!r}, but they must be a list of names: pass a "
            "checkpoint that training wrote."
        )
    return list(names or ())


def order_is_assumed(source: str | Path) -> str:
    """Return the warning about a checkpoint, `source`, that does not name the classes of its model."""
    return (
        f"{source} does not name its classes, so their order is assumed to be that of the data: all scores are "
        'wrong if it is not. To give the names: x = torch.load(PATH); x["meta"] = {"dataset_meta": {"classes": [NAMES, '
        "in the order of training]}}; torch.save(x, NEW_PATH)."
    )


def recorded_grid(state: Mapping[str, Any], weights: Mapping[str, Tensor], path: str | Path) -> tuple[int, ...] | None:
    """Return the grid of patches that a checkpoint records for its encoder; None if it records none.

    Args:
        state: the result of `read_checkpoint`.
        weights: the result of `weights_of`.
        path: the file.
    """
    section = section_in(state.get("meta"))
    if section is None:
        return requested_grid(weights, facts_of(path).get("img_size"))
    return requested_grid(weights, *(_argument(section.encoder, name) for name in ("img_size", "patch_size")))


def requested_grid(weights: Mapping[str, Tensor], img_size: Any, patch_size: Any = None) -> tuple[int, ...] | None:
    """Return the grid of `img_size` in patches of `patch_size`, by default those of the weights; None if unknown."""
    kernel = weights.get(_KERNEL)
    return _grid(img_size, patch_size if patch_size or kernel is None else kernel.shape[2:])


def _argument(encoder: ConfigDict, name: str) -> Any:
    """Return an argument of an encoder, or its default if its class is registered; nothing is imported."""
    if name in encoder:
        return encoder[name]
    with suppress(UsageError, KeyError):
        return argument_of(trusted(encoder, "The checkpoint"), ENCODERS, name)
    return None


def _grid(size: Any, patch: Any) -> tuple[int, ...] | None:
    try:
        rank = rank_of(size, patch)
        return grid_of(to_size(size, "img_size", rank), to_size(patch, "patch_size", rank))
    except UsageError:
        return None
