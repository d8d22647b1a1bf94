"""The site has every page in its navigation and every room of the package in its API, and builds strictly."""

import ast
import importlib.util
import os
import re
import subprocess
import sys

import pytest
import yaml
from doc_pages import PAGES, ROOT, blocks_of, page_id

PACKAGE = ROOT / "maetool"
# Characters of a line of code that fit into the column of text, 748 pixels wide where the window has 1,280.
WIDTH = 100


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without what its tags would call."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, tag, node: None)


@pytest.fixture(scope="module")
def navigation():
    """The pages in the navigation, in its order, as paths in the site."""
    return list(leaves(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"]))


def leaves(node):
    if isinstance(node, str):
        yield node
    else:
        for child in node.values() if isinstance(node, dict) else node:
            yield from leaves(child)


def test_every_page_is_in_the_navigation(navigation):
    pages = [str(page.relative_to(ROOT)).removeprefix("docs/") for page in PAGES]
    assert sorted(navigation) == sorted(pages)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_code_fits_the_page(path):
    """Longer lines wrap, so nothing is cut off; what a program prints may, but a command reads better in one piece."""
    for block in blocks_of(path):
        for number, line in enumerate(block.text.splitlines(), block.line):
            assert block.kind == "text" or len(line) <= WIDTH, f"{page_id(path)}:{number}: {len(line)} characters"


def test_code_wraps_where_it_does_not_fit():
    rule = re.search(r"\.md-typeset pre > code \{(.*?)\}", (ROOT / "docs" / "site.css").read_text())[1]
    assert "white-space: pre-wrap" in rule
    assert "overflow-wrap: anywhere" in rule
    size = float(re.search(r"font-size: ([\d.]+)em", rule)[1]) * 16  # pixels
    assert WIDTH * size * 0.6021 <= 748 - 2 * 1.1765 * size


def test_every_room_has_its_api(navigation):
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    rooms = {f"maetool.{room}" for room in rooms if not room.startswith("_")}
    text = "\n".join((ROOT / "docs" / page).read_text() for page in navigation if page.startswith("api/"))
    named = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    assert len(named) == len(set(named))
    assert rooms - set(named) == set()
    assert all((ROOT / name.replace(".", "/")).is_dir() or module_of(name).is_file() for name in named)


def module_of(name):
    return (ROOT / name.replace(".", "/")).with_suffix(".py")


def documented(node):
    """Yield the names in the section Args of a docstring; several may share a line."""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", ast.get_docstring(node) or "", re.MULTILINE)
    for names in re.findall(r"^ {4}([\w*]+(?:, [\w*]+)*): ", section[1] if section else "", re.MULTILINE):
        yield from names.replace("*", "").split(", ")


def taken(node):
    """Return the names of the arguments of a function, or of what makes an object of a class; None if inherited."""
    if isinstance(node, ast.ClassDef):
        plain = not any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
        fields = None if plain else [n.target.id for n in node.body if isinstance(n, ast.AnnAssign)]
        node = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if node is None:
            return fields
    given = node.args
    extra = [a for a in (given.vararg, given.kwarg) if a]
    return [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs, *extra)]


def test_docstrings_describe_arguments_that_exist():
    wrong = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and (known := taken(node)) is not None:
                unknown = set(documented(node)) - set(known)
                wrong |= {f"{path}: {node.name}": unknown} if unknown else {}
    assert wrong == {}


def test_the_check_of_docstrings_finds_a_wrong_name():
    text = 'def f(a, b):\n    """Add.\n\n    Args:\n        a, c: numbers.\n        b: another.\n    """'
    node = ast.parse(text).body[0]
    assert set(documented(node)) - set(taken(node)) == {"c"}


@pytest.mark.skipif(not importlib.util.find_spec("mkdocstrings"), reason='needs pip install -e ".[docs]"')
def test_it_builds_strictly(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    home = (tmp_path / "site" / "index.html").read_text()
    assert not re.search(r'<(script|link|img)[^>]* (src|href)="https?:', home)  # nothing comes from elsewhere
    assert "RandomMasker" in (tmp_path / "site" / "api" / "maskers.html").read_text()
