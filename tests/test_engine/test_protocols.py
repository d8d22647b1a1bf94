"""`RunnerLike` names what hooks, loops and checkpoints use of the runner, and the runner has all of it."""

import ast
from pathlib import Path

import pytest

from maetool.engine.runner import MaetoolRunner
from maetool.protocols import RunnerLike

PACKAGE = Path(__file__).parents[2] / "maetool"
DRIVERS = {"launch.py", "rehearsal.py"}  # they build a runner and start it
USERS = [path for room in ("engine", "evaluation") for path in sorted((PACKAGE / room).rglob("*.py"))]
MEMBERS = {name for name in dir(RunnerLike) if name[0] != "_"} | set(RunnerLike.__annotations__)
# Set by the constructor of MMEngine's runner, so that only an object has them.
PRIVATE = {"_train_loop", "_test_loop"}  # of MMEngine's runner, which builds a loop when it is asked for
BUILT = {"model", "optim_wrapper", "param_schedulers", "cfg", "logger", "message_hub", "visualizer", "log_processor"}


def used(path):
    """Yield the line and the name of each public attribute that a file asks of a `runner`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr[0] != "_":
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if name == "runner":
                yield node.lineno, node.attr


@pytest.mark.parametrize("path", USERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_used_is_named(path):
    unknown = [f"{path.name}:{line}: runner.{name}" for line, name in used(path) if name not in MEMBERS]
    assert path.name in DRIVERS or unknown == []


def test_what_is_named_is_used():
    asked = {name for path in PACKAGE.rglob("*.py") for _, name in used(path)} | PRIVATE
    assert MEMBERS - asked == set()


def test_the_runner_has_all_of_it():
    assert {name for name in MEMBERS if not hasattr(MaetoolRunner, name)} - PRIVATE == BUILT
    assert set(RunnerLike.__annotations__) >= BUILT | PRIVATE


def test_hooks_and_loops_say_what_they_take():
    """No argument called `runner` is left without the protocol."""
    for path in USERS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "check_runner":
                node.args.args.clear()  # which is there for runners of any kind
            if isinstance(node, ast.arg) and node.arg == "runner":
                assert ast.unparse(node.annotation) in ("RunnerLike", "MaetoolRunner"), f"{path.name}:{node.lineno}"
