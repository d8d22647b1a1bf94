"""What stands beside the code: CITATION.cff, the ranges of setup.py, the numbers of the README."""

import re
from pathlib import Path

import pytest
import yaml
from slow_tests import FILES, TESTS

ROOT = Path(__file__).parent.parent
PAPERS = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]


def plain(text):
    """The words alone, so that line breaks, capitals and hyphens make no difference."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def test_papers_can_be_found():
    urls = [paper["url"] for paper in PAPERS]
    assert len(set(urls)) == len(urls)
    text = (ROOT / "CITATION.cff").read_text()
    assert text.count("    url: ") == len(urls), "an entry that lost its first line hides the one before it"
    assert all(re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}", url) for url in urls)


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "methods").glob("[a-z]*.md")), ids=lambda page: page.stem)
def test_the_paper_of_every_method_is_cited(page):
    assert any(plain(paper["title"]) in plain(page.read_text()) for paper in PAPERS)


def test_the_readme_quotes_the_benchmarks():
    results = (ROOT / "README.md").read_text().split("## Results", 1)[1].split("\n## ", 1)[0]
    quoted = re.findall(r"\d+\.\d+", results)
    measured = re.findall(r"\d+\.\d+", (ROOT / "docs" / "results" / "benchmarks.md").read_text())
    assert len(quoted) >= 8
    assert set(quoted) <= set(measured)


def test_ranges_begin_where_the_weekly_script_can_read_it():
    # `.ci/versions` makes the oldest environment of the lower bounds, each of them a version that exists.
    source = (ROOT / "setup.py").read_text()
    bounds = dict(re.findall(r'"([A-Za-z0-9_.-]+)>=([0-9.]+)', source))
    required = re.search(r"install_requires=\[(.*?)\]", source, re.DOTALL)[1]
    names = {re.split(r"[^\w.-]", name)[0] for name in re.findall(r"""["']([^"']+)["'],\n""", required)}
    assert names - bounds.keys() <= {"setuptools"}  # whose bound is that of the tests
    assert {"torch", "timm", "numpy", "opencv-python"} <= names


def test_mypy_checks_rooms_that_are_there():
    section = re.search(r"\[tool\.mypy\]\nfiles = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1]
    files = re.findall(r'"(.+?)"', section)
    assert [name for name in files if not (ROOT / name).exists()] == []
    parts = {"encoders", "decoders", "targets", "heads", "maskers", "teachers", "corruptions", "backbones", "models"}
    rooms = {*parts, "inspection", "ops", "structures", "layers", "weights", "config", "protocols.py"}
    assert {f"maetool/{room}" for room in rooms} <= set(files)
    source = [path for path in (ROOT / "maetool").rglob("*.py") if "type: ignore" in path.read_text()]
    assert source == []


def test_slow_tests_are_tests():
    assert [name for name in FILES if not (ROOT / "tests" / name).is_file()] == []
    for file, names in TESTS.items():
        text = (ROOT / "tests" / file).read_text()
        assert names - set(re.findall(r"^def (test_\w+)", text, re.MULTILINE)) == set()
