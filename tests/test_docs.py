"""The documentation works: its Python runs; its commands and links name what there is."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import maetool
from maetool.data import ShapesDataset
from maetool.encoders import VisionTransformer
from maetool.registry import PART_REGISTRIES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/plugin/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:python |`)(tools/\w+\.py)((?:[^\n]*\\\n)*[^\n]*)")


def page_id(path):
    return str(path.relative_to(ROOT))


def blocks_of(path):
    return PYTHON.findall(path.read_text())


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what the pages name: `images`, and weights with the published names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shapes = ShapesDataset(64, 48, seed=0)
    Path("images").mkdir()
    for i in range(len(shapes)):
        Image.fromarray(shapes[i]["inputs"].permute(1, 2, 0).numpy()).save(f"images/{i:02d}.png")
    torch.manual_seed(0)
    torch.save({"model": VisionTransformer(32, 8, 3, 192, 1, 3).state_dict()}, "mae_pretrain_vit_base.pth")
    registered = [(parts.module_dict, dict(parts.module_dict)) for parts in PART_REGISTRIES]
    yield tmp_path
    for now, before in registered:
        now.clear()
        now.update(before)


@pytest.mark.parametrize("path", [path for path in PAGES if blocks_of(path)], ids=page_id)
def test_python_runs(path, place):
    scope = {"__name__": "docs"}
    for block in blocks_of(path):
        exec(compile(block, page_id(path), "exec"), scope)


def test_the_loop_learns_in_thirty_lines(place, capsys):
    loop, *_ = blocks_of(ROOT / "docs" / "without_the_framework.md")
    assert len([line for line in loop.splitlines() if line.strip() and not line.startswith(("import", "from"))]) <= 30
    torch.manual_seed(0)
    exec(compile(loop, "loop", "exec"), {"__name__": "docs"})
    losses = [float(number) for number in re.findall(r"loss ([\d.]+)", capsys.readouterr().out)]
    assert len(losses) == 5
    assert losses[-1] < 0.97 * losses[0]


def commands_of(path):
    return [(tool, re.split("[#`]", rest)[0]) for tool, rest in COMMAND.findall(path.read_text())]


@pytest.mark.parametrize("path", [path for path in PAGES if commands_of(path)], ids=page_id)
def test_commands_name_what_there_is(path):
    for tool, rest in commands_of(path):
        source = ROOT / tool
        assert source.is_file(), tool
        known = set(re.findall(r"--[\w-]+", source.read_text())) | {"--help"}
        assert set(re.findall(r"(?<=\s)--[\w-]+", rest)) <= known, f"{tool}{rest}"
        for config in re.findall(r"(?:examples/plugin/)?configs/[\w/.-]+\.py", rest):
            assert (ROOT / config).is_file(), config


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if not link.startswith(("http://", "https://")):
            assert (path.parent / link).exists(), link


def test_what_is_cited():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == maetool.__version__
    assert len(cited["references"]) >= 4
    for paper in cited["references"]:
        assert {"type", "title", "collection-title", "year"} <= paper.keys()
        assert all(author.keys() == {"family-names", "given-names"} for author in paper["authors"])
