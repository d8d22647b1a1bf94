"""CITATION.cff names the paper of every method that has a page."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PAPERS = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]


def plain(text):
    """The words alone, so that line breaks, capitals and hyphens make no difference."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def test_papers_can_be_found():
    urls = [paper["url"] for paper in PAPERS]
    assert len(set(urls)) == len(urls)
    assert all(re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}", url) for url in urls)


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "methods").glob("[a-z]*.md")), ids=lambda page: page.stem)
def test_the_paper_of_every_method_is_cited(page):
    assert any(plain(paper["title"]) in plain(page.read_text()) for paper in PAPERS)
