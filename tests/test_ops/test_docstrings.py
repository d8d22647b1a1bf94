"""The docstrings of the functions that every part uses say what each argument is."""

import inspect
import pkgutil
import re
from importlib import import_module

import pytest

import maetool.layers
import maetool.ops

MODULES = [
    import_module(entry.name)
    for room in (maetool.ops, maetool.layers)
    for entry in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
]
FUNCTIONS = [
    function
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: f"{function.__module__}.{function.__name__}")
def test_every_argument_is_in_the_docstring(function):
    text = inspect.getdoc(function) or ""
    missing = [name for name in inspect.signature(function).parameters if not re.search(rf"\b{name}\b", text)]
    assert not missing, f"not in the docstring: {missing}"
