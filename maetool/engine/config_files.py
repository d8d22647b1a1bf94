"""The files that a config is written in: itself and those it builds on."""

import ast
from collections.abc import Iterator
from pathlib import Path


def trees_of(path: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Yield path and syntax tree of a config file and of those that it builds on, which come first.

    Both of MMEngine's ways to build on a file are followed, `_base_` and `read_base`. A base that is named in another
    way, such as an address or another package's, is passed over.
    """
    try:
        tree = ast.parse(path.read_text())
    except (OSError, SyntaxError, ValueError):  # JSON and YAML are configs too
        return
    for base in _bases(tree, path.parent):
        if base.is_file():
            yield from trees_of(base)
    yield path, tree


def _bases(tree: ast.Module, folder: Path) -> Iterator[Path]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and _variable(node) == "_base_":
            names = ast.literal_eval(node.value)
            yield from (folder / name for name in ([names] if isinstance(names, str) else names))
        elif isinstance(node, ast.With) and _is_read_base(node):
            for statement in node.body:
                if isinstance(statement, ast.ImportFrom) and statement.level:
                    parent = folder.joinpath(*[".."] * (statement.level - 1))
                    yield parent.joinpath(*(statement.module or "").split(".")).with_suffix(".py")


def _is_read_base(node: ast.With) -> bool:
    call = node.items[0].context_expr
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "read_base"


def _variable(node: ast.Assign) -> str | None:
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else None


def names_read(path: Path) -> set[str]:
    """Return the variables that a config's files read: helpers, which other values are computed from."""
    names: set[str] = set()
    for _, tree in trees_of(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                names.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_base_":
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "{{" in node.value:
                names.update(part.strip(" {}").removeprefix("_base_.").split(".")[0] for part in [node.value])
    return names
