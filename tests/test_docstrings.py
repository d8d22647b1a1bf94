"""The docstring of every public function says what each argument is."""

import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "maetool"
ROOMS = sorted({path.stem for path in PACKAGE.glob("[a-z]*") if path.name != "py.typed"})


def modules_of(room):
    """Import a room of the package, or one of its modules, and all below it."""
    room = import_module(f"maetool.{room}")
    below = pkgutil.walk_packages(room.__path__, f"{room.__name__}.") if hasattr(room, "__path__") else ()
    return [room, *(import_module(entry.name) for entry in below)]


def functions_of(module):
    """Return public functions and methods that are written in a module, each with the class that holds it."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(thing):
            public = [value for key, value in vars(thing).items() if not key.startswith("_") or key == "__call__"]
            functions = [inspect.unwrap(getattr(value, "__func__", value)) for value in public]
            yield from ((thing, each) for each in functions if is_written(each, f"{thing.__name__}."))
        elif is_written(function := inspect.unwrap(thing), name):
            yield None, function


def is_written(thing, place):
    """Return whether a thing is a function whose `def` is at a place, and no alias of another one."""
    return inspect.isfunction(thing) and thing.__qualname__.startswith(place)


def documented(owner, function):
    """Return a docstring, with those of the methods that it overrides and of the function that it refers to."""
    bases = () if owner is None else owner.__mro__[1:]
    overridden = [vars(base)[function.__name__] for base in bases if function.__name__ in vars(base)]
    text = "\n".join(inspect.getdoc(each) or "" for each in (function, *overridden))
    for name in re.findall(r"\bas in\s+`([\w.]+)`", text):
        text += inspect.getdoc(named(name, owner, function)) or ""
    return text


def named(name, owner, function):
    """Return the function that a docstring names: a method of the same class, or what its module knows."""
    start, *rest = name.split(".")
    thing = getattr(owner, start, None) or getattr(import_module(function.__module__), start, None)
    for part in rest:
        thing = getattr(thing, part, None)
    return thing


def arguments_of(owner, function):
    """Return the arguments that a docstring must name: not `self`, keyword mappings and what is ignored (`_name`)."""
    parameters = [each for each in inspect.signature(function).parameters.values() if each.kind is not each.VAR_KEYWORD]
    if owner is not None and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    return [each.name for each in parameters if not each.name.startswith("_")]


@pytest.mark.parametrize("room", ROOMS)
def test_every_argument_is_in_the_docstring(room):
    missing = {}
    for owner, function in (each for module in modules_of(room) for each in functions_of(module)):
        text = documented(owner, function)
        names = [name for name in arguments_of(owner, function) if not re.search(rf"\b{name}\b", text)]
        if names:
            missing[f"{function.__module__}.{function.__qualname__}"] = names
    assert not missing, f"arguments that no docstring explains: {missing}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_error_that_a_function_raises_is_in_its_docstring(room):
    silent = [
        f"{function.__module__}.{function.__qualname__}"
        for module in modules_of(room)
        for owner, function in functions_of(module)
        if re.search(r"^ +raise UsageError\(", inspect.getsource(function), re.MULTILINE)
        and "Raises:" not in documented(owner, function)
    ]
    assert not silent, f"functions that raise UsageError and do not say when: {silent}"
