"""Checks values of configs against the annotations of classes: types and bounds."""

import inspect
import math
import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Number, Real
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from .errors import UsageError

_PLAIN = (NoneType, bool, int, float, str, list, tuple, Mapping)
_WORDS = {NoneType: "None", bool: "True or False", int: "an integer", float: "a number", str: "a string"}
# Modules whose classes a config writes as a dict.
_PARTS = ("maetool.", "mmengine.", "torch.nn.", "torch.optim.", "torch.utils.data.")
# The word and the test of each bound.
_TESTS = {
    "ge": ("from", operator.ge),
    "gt": ("above", operator.gt),
    "le": ("to", operator.le),
    "lt": ("below", operator.lt),
}
_FRAMEWORKS = ("mmengine", "torch")  # their classes pass **kwargs to their base class only


@dataclass(frozen=True)
class Bounds:
    """The range of a number, for `Annotated`; bounds of `annotated_types`, which have the same names, work too.

    Attributes:
        ge, gt: the number is at least, or above, this.
        le, lt: the number is at most, or below, this.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None


Count = Annotated[int, Bounds(ge=1)]
FromZero = Annotated[int, Bounds(ge=0)]
Positive = Annotated[float, Bounds(gt=0, lt=math.inf)]
Size = Count | Sequence[Count]  # along each axis, or one number for all


@cache
def taken_by(part: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of `part`, a class or function, as it states them itself; `inspect` takes long to ask."""
    return inspect.signature(part).parameters


@cache
def parameters_of(part: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of `part`, a class or function; None if it takes any keyword."""
    taken: dict[str, inspect.Parameter] = {}
    for function in _constructors(part):
        own = inspect.signature(function).parameters
        taken = {**own, **taken}
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            return {n: p for n, p in taken.items() if n != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    return None


def _constructors(part: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    if not inspect.isclass(part) or part.__module__.split(".")[0] not in _FRAMEWORKS:
        yield part
        return
    yield from (vars(base)["__init__"] for base in part.__mro__ if "__init__" in vars(base) and base is not object)


@cache
def hints_of(part: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the parameters of `part`, a class or function, as far as they can be resolved."""
    hints: dict[str, Any] = {}
    for function in reversed(list(_constructors(part))):
        own = function.__init__ if inspect.isclass(function) else function
        try:
            resolved = get_type_hints(own, include_extras=True)
        except Exception:  # annotations of third parties may be unresolvable
            resolved = {}
        hints |= {name: resolved.get(name, Any) for name in inspect.signature(own).parameters}
    return {name: hint for name, hint in hints.items() if name != "self"}


def check_values(owner: str, part: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Check the values of arguments against the annotations of a class.

    A value of the default's type is always accepted.

    Args:
        owner: what messages put before the names, such as "model.encoder"; may be empty.
        part: the class, or a function.
        values: by name of the argument.

    Raises:
        UsageError: a value of a wrong type, such as a number instead of a string.
    """
    parameters = parameters_of(part) or {}
    for name, hint in hints_of(part).items():
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        loose = getattr(part, "__module__", "").startswith("mmengine") and "str" in kinds_of(
            hint
        )  # AmpOptimWrapper's loss_scale: str
        if name in values and type(values[name]) is not type(default) and not loose:
            check_value(f"{owner}.{name}" if owner else name, values[name], hint)


def check_value(name: str, value: Any, hint: Any) -> None:
    """Check one value against an annotation.

    Args:
        name: of the value, for the message.
        value: to check.
        hint: the annotation.

    Raises:
        UsageError: it has a wrong type.
    """
    if not fits(value, hint):
        raise UsageError(f"{name} is {value!r}, but must be {describe(hint)}.")


def fits(value: Any, hint: Any) -> bool:
    """Return whether a config's `value` matches the annotation `hint`; True if the annotation does not constrain it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return fits(value, inner[0])
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(_fits_class(value, type(one), ()) and value == one for one in inner)
    base = NoneType if hint is None else origin or hint
    if not isinstance(base, type) or base in (Any, object) or not isinstance(value, _PLAIN):
        return True
    return _fits_class(value, base, inner)


def _fits_class(value: Any, base: type, inner: tuple[Any, ...]) -> bool:
    if base is float:
        return _is_number(value)
    if base in (NoneType, bool, int, str):
        return isinstance(value, base) and (base is bool or not isinstance(value, bool))
    if issubclass(base, Number):
        return isinstance(value, base)
    if issubclass(base, Mapping):
        return isinstance(value, Mapping) and (len(inner) != 2 or all(fits(item, inner[1]) for item in value.values()))
    if base is tuple and inner and Ellipsis not in inner:
        return isinstance(value, list | tuple) and len(value) == len(inner) and all(map(fits, value, inner))
    if _is_list(base):
        return isinstance(value, list | tuple) and (not inner or all(fits(item, inner[0]) for item in value))
    if issubclass(base, PurePath):
        return isinstance(value, str)
    if issubclass(base, Tensor):
        return isinstance(value, int | float | list | tuple)
    if base.__module__.startswith(_PARTS):
        return isinstance(value, Mapping)
    return value is not None  # another class, which a config gives by name or in its own form


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)  # also NumPy's


def _is_list(base: Any) -> bool:
    return isinstance(base, type) and issubclass(base, Collection) and not issubclass(base, str | bytes | Mapping)


def check_bounds(owner: str, hints: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Check numbers against the bounds in the annotations of their arguments.

    Args:
        owner: what messages put before the names, such as "model.encoder".
        hints: annotations, by name of the argument.
        values: by name of the argument.

    Raises:
        UsageError: a number is out of range.
    """
    for name, hint in hints.items():
        if not is_within(values.get(name), hint):
            raise UsageError(f"{owner}.{name} is {values[name]!r}, but must be a number {range_of(hint)}.")


def range_of(hint: Any) -> str | None:
    """Return the bounds in the annotation `hint` as text, of a number or of those in a list; None without bounds."""
    if get_origin(hint) is Annotated:
        return _say_range(get_args(hint)[1:])
    return next((text for one in get_args(hint) if (text := range_of(one))), None)


def _say_range(notes: Sequence[Any]) -> str | None:
    words = []
    for note in notes:
        for name, (word, _) in _TESTS.items():
            limit = getattr(note, name, None)
            if isinstance(limit, Real) and abs(float(limit)) < math.inf:
                words.append(f"{word} {limit}")
    return " ".join(words) or None


def is_within(value: Any, hint: Any) -> bool:
    """Return whether the numbers of `value`, one or a list, are within the bounds of the annotation `hint`.

    Values of other types are not checked; see `fits`.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounded = not _is_number(value) or all(_respects(value, note) for note in inner[1:])
        return bounded and is_within(value, inner[0])
    if origin in (Union, UnionType):
        fitting = [one for one in inner if fits(value, one)]
        return not fitting or any(is_within(value, one) for one in fitting)
    if not isinstance(value, list | tuple) or not inner or not _is_list(origin):
        return True
    each = inner if origin is tuple and Ellipsis not in inner else inner[:1] * len(value)
    return all(map(is_within, value, each))


def _respects(number: float, note: Any) -> bool:
    limits = {name: getattr(note, name, None) for name in _TESTS}
    return all(_TESTS[name][1](number, limit) for name, limit in limits.items() if isinstance(limit, Real))


def describe(hint: Any) -> str:
    """Return the type that the annotation `hint` describes, as text for a message."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return describe(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(describe(one) for one in inner))
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    base = NoneType if hint is None else origin or hint
    if base in _WORDS:
        return _WORDS[base]
    if isinstance(base, type) and (issubclass(base, Mapping) or base.__module__.startswith(_PARTS)):
        return "a dict"
    if _is_list(base):
        length = f" of {len(inner)}" if base is tuple and inner and Ellipsis not in inner else ""
        return f"a list{length}" + (f", each {describe(inner[0])}" if inner and inner[0] is not Any else "")
    if isinstance(base, type) and issubclass(base, PurePath):
        return "a path"
    return f"a {getattr(base, '__name__', base)}"


def kinds_of(hint: Any) -> set[str]:
    """Return which of "str", "list", "none" and "other" the annotation `hint` allows; only "any" if it does not say."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return kinds_of(inner[0])
    if origin in (Union, UnionType):
        return set().union(*map(kinds_of, inner))
    if origin is Literal:
        return {"str" if isinstance(one, str) else "other" for one in inner}
    base = NoneType if hint is None else origin or hint
    if not isinstance(base, type) or base in (Any, object):
        return {"any"}
    if base is NoneType:
        return {"none"}
    if issubclass(base, str | PurePath):
        return {"str"}
    return {"list"} if _is_list(base) else {"other"}
