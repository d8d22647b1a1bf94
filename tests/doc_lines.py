"""How many lines a method took: of its parts and configs, as its page states them.

Counted are lines with code: neither blank lines, nor comments, nor docstrings. Of a part they are those of its class,
or of one method of it, and of the private functions of its file that these use; of a config those of its own file.

`PYTHONPATH=. python tests/doc_lines.py` writes the numbers of today into all pages.
"""

import ast
import inspect
import re
import textwrap

from doc_pages import ROOT

from maetool.registry import classes_named

_STATED = re.compile(r"`([\w./-]+)` (\d+)")
_PARAGRAPH = re.compile(r"^\*\*Lines:\*\* (.+?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


def count_code(source):
    """Return the number of lines that hold code."""
    tree = ast.parse(textwrap.dedent(source))
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(textwrap.dedent(source).splitlines(), start=1)
    return sum(bool(text.strip()) and text.strip()[0] != "#" and number not in docstrings for number, text in lines)


def stated_lines(page):
    """Return what a page states: names of parts and paths of configs, with a number for each; None without any."""
    paragraph = _PARAGRAPH.search(page.read_text())
    return None if paragraph is None else {name: int(number) for name, number in _STATED.findall(paragraph[1])}


def actual_lines(name):
    """Return the number of lines of a config, by its path, or of a registered part, or one of its methods, by name."""
    if name.endswith(".py"):
        return count_code((ROOT / name).read_text())
    part, _, method = name.partition(".")
    (cls,) = classes_named(part)
    source = inspect.getsource(getattr(cls, method) if method else cls)
    return count_code(source) + sum(map(count_code, helpers_of(source, inspect.getsource(inspect.getmodule(cls)))))


def helpers_of(source, module):
    """Return the sources of the private functions and classes of a module that a source uses, also through others."""
    nodes = {node.name: node for node in ast.parse(module).body if hasattr(node, "name") and node.name[0] == "_"}
    found, asked = {}, [source]
    while asked:
        names = {node.id for node in ast.walk(ast.parse(textwrap.dedent(asked.pop()))) if isinstance(node, ast.Name)}
        for name in names & nodes.keys() - found.keys():
            found[name] = ast.get_source_segment(module, nodes[name])
            asked.append(found[name])
    return list(found.values())


def with_actual_lines(text):
    """Return the text of a page with the number of today beside each name of its paragraph."""
    stated = _PARAGRAPH.search(text)
    if stated is None:
        return text
    actual = _STATED.sub(lambda each: f"`{each[1]}` {actual_lines(each[1])}", stated[0])
    return text[: stated.start()] + actual + text[stated.end() :]


if __name__ == "__main__":
    for path in sorted((ROOT / "docs/methods").glob("*.md")):
        path.write_text(with_actual_lines(path.read_text()))
