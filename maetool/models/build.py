"""Building a part with the facts that it leaves out."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from maetool.errors import UsageError
from maetool.ops.stats import numbers_of_streams
from maetool.registry import DECODERS, MASKERS, Registry, check_arguments, find_part, is_own

from .pairing import facts_of

Part = Mapping[str, Any] | nn.Module  # a config, or what is built already


def build_with(registry: Registry, part: Any, facts: Mapping[str, Any]) -> Any:
    """Build a part with the facts that its config leaves out.

    Only arguments of maetool's classes, which a subclass without a constructor of its own inherits, can contradict a
    fact: an argument of the same name of another class may mean something else.

    Args:
        registry: where the part's type is looked up.
        part: its config, or the part itself.
        facts: argument names and their values, such as `in_chans=3`.

    Raises:
        UsageError: the part states a fact that the encoder states otherwise.
    """
    for name, value in facts.items() if _is_own(part, registry) else ():
        explicit = part.get(name, value)
        if explicit is not value and not _equal(explicit, value):
            raise UsageError(
                f"The {registry.name} has {name}={explicit!r}, but the encoder has {value!r}: "
                "set it only in the encoder."
            )
    return registry.build(part, default_args=facts)


def _equal(explicit: Any, value: Any) -> bool:
    """Whether a part states a fact: sizes and statistics may be a tuple, a list, or one number for all."""
    if not isinstance(value, tuple):
        return explicit == value
    return (tuple(explicit) if isinstance(explicit, Sequence) else (explicit,) * len(value)) == value


def _is_own(part: Any, registry: Registry) -> bool:
    return isinstance(part, Mapping) and "type" in part and is_own(find_part(part["type"], registry))


def build_optional(registry: Registry, part: Any, facts: Mapping[str, Any]) -> Any:
    """Build a part as `build_with(registry, part, facts)`; None stays None."""
    return None if part is None else build_with(registry, part, facts)


def build_views(
    views: Mapping[str, Any], facts: Mapping[str, Any]
) -> tuple[nn.ModuleDict, set[str], tuple[str, ...], str | None]:
    """Return the maskers of views, views of which nothing is hidden, those predicted from too, and that of the target.

    Args:
        views: name of a view to its options, see `MaskedImageModel`.
        facts: of the encoder and the images.

    Raises:
        UsageError: an unknown option or use, or two views of the target.
    """
    uses: dict[str, list[str]] = {"predicted": [], "target": []}
    for name, options in views.items():
        check_arguments(f"The view {name}", options, ("masker", "use"))
        if (use := options.get("use")) is not None:
            if use not in uses:
                raise UsageError(f'The view {name} has use={use!r}, but it must be "predicted" or "target".')
            uses[use].append(name)
    if len(uses["target"]) > 1:
        raise UsageError(f'The views {" and ".join(uses["target"])} have use="target", but one can have it.')
    own = {name: build_with(MASKERS, one["masker"], facts) for name, one in views.items() if one.get("masker")}
    whole = {name for name, one in views.items() if one.get("masker", ...) is None}
    return nn.ModuleDict(own), whole, tuple(uses["predicted"]), next(iter(uses["target"]), None)


def build_decoder(decoder: Any, facts: Mapping[str, Any], target: Any) -> Any:
    """Build a decoder for a target; it is handed all facts as `facts`, for a decoder inside of it.

    Raises:
        UsageError: see `build_with`.
    """
    facts = {**facts, **widths_of(target)}
    return build_with(DECODERS, decoder, {**facts, "facts": facts})


def widths_of(target: Any) -> dict[str, Any]:
    """Return what decoders and heads are told about a target: P, and that of each stream where they differ."""
    return {"out_dim": target.out_dim, "out_dims": getattr(target, "out_dims", None)}


def facts_of_images(preprocessor: Any, view: str | None = None) -> dict[str, Any]:
    """Return the `mean` and `std` that images are normalised by, of each channel in stored units; {} without any.

    Targets that look at images in other units than the encoder take them. Where they differ by the names of views or of
    streams, there are `statistics`, those of all names, beside those of the view.

    Args:
        preprocessor: the data preprocessor of the model.
        view: that the parts look at.
    """
    names = [name for name in ("mean", "std") if getattr(preprocessor, name, None) is not None]
    statistics = getattr(preprocessor, "statistics", None)
    named = statistics() if callable(statistics) else {}
    own = named.get(view or "", {}) or {name: tuple(getattr(preprocessor, name).flatten().tolist()) for name in names}
    return {**own, "statistics": named} if named else own


def facts_of_task(facts: Mapping[str, Any], stream: str | None, view: str | None) -> dict[str, Any]:
    """Return the facts for the parts of a task: those of its stream, and the `mean` and `std` of its stream or view.

    Args:
        facts: of the model.
        stream: that the task predicts; None, all.
        view: that it looks at; None, the model's.

    Raises:
        UsageError: the encoder has no such stream.
    """
    named = facts.get("statistics", {})
    facts = {**facts, **named.get(view or "", {})}
    if stream is None:
        return facts
    encoder = facts["encoder"]
    facts |= {**facts_of(encoder, stream), "stream": stream}
    for kind in ("mean", "std"):
        numbers = facts.pop(kind, None) or {name: own[kind] for name, own in named.items()}
        own = numbers_of_streams(encoder, numbers).get(stream) if numbers else None
        facts |= {} if own is None else {kind: own}
    return facts
