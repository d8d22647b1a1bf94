"""The files of a config: itself and its bases."""

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mmengine import Config


def trees_of(path: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Yield path and syntax tree of a config file and of its bases, bases first.

    Both of MMEngine's kinds of base are followed, `_base_` and `read_base`, also into other packages.
    """
    try:
        tree = ast.parse(path.read_text())
    except (OSError, SyntaxError, ValueError):  # JSON and YAML are configs too
        return
    for base in _bases(tree, path):
        if base.is_file():
            yield from trees_of(base)
    yield path, tree


def _bases(tree: ast.Module, path: Path) -> Iterator[Path]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and _variable(node) == "_base_":
            names = ast.literal_eval(node.value)
            for name in [names] if isinstance(names, str) else names:
                yield Path(Config._get_cfg_path(name, str(path))[0])  # the only function that resolves PACKAGE::CONFIG
        elif isinstance(node, ast.With) and _is_read_base(node):
            for statement in node.body:
                if isinstance(statement, ast.ImportFrom):
                    yield _imported(statement, path.parent)


def _imported(statement: ast.ImportFrom, folder: Path) -> Path:
    if statement.level:
        parent = folder.joinpath(*[".."] * (statement.level - 1))
        return parent.joinpath(*(statement.module or "").split(".")).with_suffix(".py")
    spec = find_spec(statement.module or "")
    return Path(spec.origin if spec and spec.origin else "")


def _is_read_base(node: ast.With) -> bool:
    call = node.items[0].context_expr
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "read_base"


def _variable(node: ast.Assign) -> str | None:
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else None


def names_read(path: Path) -> set[str]:
    """Return the variables that a config's files read, to compute other values from them.

    An assignment is visible to the file itself and to files that inherit from it, not to its own bases.

    Args:
        path: of the config.
    """
    names: set[str] = set()
    for _, tree in trees_of(path):
        names -= {name for node in tree.body if isinstance(node, ast.Assign) and (name := _variable(node))}
        names |= _names_in(tree)
    return names


def _names_in(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_base_":
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "{{" in node.value:
            names.update(part.strip(" {}").removeprefix("_base_.").split(".")[0] for part in [node.value])
    return names


def is_one_file(path: Path) -> bool:
    """Return whether the config at `path` has no base files, or its file cannot be parsed."""
    return len(list(trees_of(path))) <= 1
