"""Pages hold all they show, are read without a mouse, and sort their tables."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from maetool.visualization import html, map_figure

OPEN_ENDED = {"meta", "link", "br", "img", "path", "use", "rect", "circle", "line"}


class Structure(HTMLParser):
    """Checks that elements are closed in order, and keeps their attributes."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(page)
        assert self.open == [], self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in OPEN_ENDED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in OPEN_ENDED:
            assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def example():
    table = html.table(["run", "accuracy"], [["b <1>", "9.5 (9 to 10)"], ["a", "1,000 %"], ["c", None]])
    figure = html.drawing(map_figure(torch.randn(6, 2), torch.arange(6) % 2, ["x", "y"]), "a map")
    sections = [html.section("Some & more", table), html.section("Map", figure), html.section("Nothing", "")]
    picture = html.picture(np.zeros((4, 6, 3), np.uint8), 'a "picture"')
    return html.page("A <page>", [html.contents(sections), *sections, picture, html.details("more", html.code("x<y"))])


def test_a_page_is_complete_and_loads_nothing():
    page = example()
    found = Structure(page)
    assert all(each["src"].startswith("data:image/jpeg;base64,") for each in found.all("img"))
    assert [each["href"] for each in found.all("link") + found.all("a")] == ["data:,", "#some-more", "#map"]
    policy = found.all("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy" and "default-src 'none'" in policy["content"]
    assert not re.search(r"(src|href)=\"(?!data:|#)|@import|url\((?!#)", page)
    assert "A &lt;page&gt;" in page and "<page>" not in page and "b &lt;1&gt;" in page


def test_a_page_needs_no_mouse_and_no_light():
    found = Structure(example())
    assert len(found.all("button")) == 2 and all(each["type"] == "button" for each in found.all("button"))
    assert {each["tabindex"] for each in found.all("div") + found.all("pre")} == {"0"}
    assert all(each["alt"] for each in found.all("img")) and all(each["aria-label"] for each in found.all("svg"))
    assert "prefers-color-scheme: dark" in example() and "focus-visible" in example()


def test_drawings_take_the_colours_of_the_page():
    drawn = html.drawing(map_figure(torch.randn(6, 2)), "a map")
    assert "currentColor" in drawn and "#010203" not in drawn
    assert "<text" in drawn and not re.search(r"(fill|stroke): ?#(000000|ffffff)", drawn)
    others = re.findall(r'id="(\w+)"', html.drawing(map_figure(torch.randn(6, 2)), "another"))
    shared = set(re.findall(r'clipPath id="(\w+)"', drawn)) & set(others)
    assert not shared, "two drawings on one page must not clip each other"


def test_numbers_have_keys_and_text_has_none():
    keys = [each.get("data-key") for each in Structure(example()).all("td")]
    assert keys == [None, "9.5", None, "1000", None, None]


@pytest.mark.parametrize("shape", [(900, 700, 3), (40, 60)])
def test_a_picture_keeps_to_its_size(shape):
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)  # what JPEG compresses least
    assert len(html.picture(noise, "noise", largest=60_000)) < 81_000
    assert len(html.picture(noise[:8, :8])) < 2000


DOCUMENT = """
class Cell { constructor(text, key) { this.textContent = text; this.dataset = key === undefined ? {} : {key};
    this.attributes = {}; this.button = {addEventListener: (_, f) => this.click = f}; }
  querySelector() { return this.button; } getAttribute(name) { return this.attributes[name] ?? null; }
  setAttribute(name, value) { this.attributes[name] = value; } removeAttribute(name) { delete this.attributes[name]; } }
const rows = ROWS.map(cells => ({cells: cells.map(([text, key]) => new Cell(text, key))}));
const heads = ROWS[0].map(() => new Cell(""));
const body = {rows, append(row) { rows.splice(rows.indexOf(row), 1); rows.push(row); }};
const document = {querySelectorAll: () => [{tHead: {rows: [{cells: heads}]}, tBodies: [body]}]};
"""


@pytest.mark.skipif(not shutil.which("node"), reason="no JavaScript engine")
def test_a_click_sorts_and_another_one_turns_the_order():
    rows = [[["b"], ["x9", "9.5"]], [["a"], ["x1000", "1000"]], [["c"], [""]], [["é"], ["x-2", "-2e0"]]]
    script = DOCUMENT.replace("ROWS", json.dumps(rows)) + html.SCRIPT
    script += "\nconst names = () => rows.map(row => row.cells[0].textContent).join('');\nconst seen = [];"
    script += "\nfor (const head of [0, 0, 1, 1]) { heads[head].click(); seen.push(names()); }"
    script += "\nconsole.log(JSON.stringify([seen, heads.map(head => head.getAttribute('aria-sort'))]));"
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    orders, marks = json.loads(done.stdout)
    assert orders == ["abcé", "écba", "ébac", "abéc"]
    assert marks == [None, "descending"]


@pytest.mark.parametrize("name", ["a.txt", "a"])
def test_a_page_ends_in_html(tmp_path, name):
    with pytest.raises(html.UsageError, match=r"--out is .*, but must end in .html"):
        html.check_page(tmp_path / name, "--out")
