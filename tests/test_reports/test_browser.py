"""Pages in a real browser: nothing in its console, pictures visible, tables sorted by the keyboard, light and dark."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from test_reports.test_kinds import images_in, untrained

from maetool.commands import check
from maetool.reports import run_page

LIGHT, DARK = ["rgb(26, 26, 26)", "rgb(255, 255, 255)"], ["rgb(230, 230, 230)", "rgb(22, 24, 28)"]  # text, paper
HEADS = {"run": "version", "comparison": "training loss", "check": ""}  # the last has no table to sort


@pytest.fixture(scope="module")
def browser(repository):
    """Open a page and return what `tests/browser.py` found."""
    pytest.importorskip("PyQt6.QtWebEngineWidgets", reason="PyQt6-WebEngine is not installed")

    def browse(page, mode, head):
        out = page.with_suffix(".json")
        command = [sys.executable, repository / "tests/browser.py", page, mode, head, out]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=dict(os.environ))
        assert out.is_file(), done.stderr[-2000:]
        return json.loads(out.read_text())

    return browse


@pytest.fixture(scope="module")
def pages(browser, repository, tmp_path_factory):
    """The pages of a run, of a comparison of two runs and of a check of images."""
    root = tmp_path_factory.mktemp("pages")
    run, other = untrained(repository, "mae/vit-t_shapes", root / "first"), root / "second"
    shutil.copytree(run, other)
    logs = other / "1/vis_data/scalars.json"
    logs.write_text(logs.read_text().replace("1.0", "0.5"))
    (other / "epoch_1.pth").unlink()
    for name, page in {"run": run_page([run], 12), "comparison": run_page([run, other])}.items():
        (root / f"{name}.html").write_text(page)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["check", str(images_in(root)), "--page", str(root / "check.html")])
        check.main()
    return root


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", HEADS)
def test_a_page_opens_and_is_used_without_a_mouse(browser, pages, name, mode):
    found = browser(pages / f"{name}.html", mode, HEADS[name])
    assert found["loaded"] and found["said"] == []
    assert found["pictures"] and all(each["loaded"] and each["seen"] for each in found["pictures"]), found["pictures"]
    assert found["colours"] == (LIGHT if mode == "light" else DARK)
    if not HEADS[name]:
        return
    assert found["reached"][-1] == ["button", HEADS[name]]
    first, ascending, descending = found["rows"]
    assert len(first) > 1 and sorted(first) == sorted(ascending) == sorted(descending)
    assert descending == ascending[::-1] and ascending != descending


def test_the_browser_sees_what_is_wrong(browser, tmp_path):
    page = tmp_path / "wrong.html"
    table = '<table class="sortable"><thead><tr><th>a</th></tr></thead><tbody></tbody></table>'
    page.write_text(f'<img src="missing.png" style="width:90px;height:90px">{table}<script>nothing()</script>')
    found = browser(page, "light", "a")
    assert found["pictures"] == [{"kind": "img", "loaded": False, "seen": True}]
    assert "nothing is not defined" in found["said"][0] and found["rows"] == [[], [], []]
