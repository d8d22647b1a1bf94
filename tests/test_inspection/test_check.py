"""`maetool check`: what it prints and writes, and that a training accepts what it offers to paste."""

import json
import re
import shlex
import sys

import numpy as np
import pytest
from people_data import picture
from PIL import Image
from warm import run_warm

from maetool.commands import check
from maetool.config.load import load_for
from maetool.config.prepare import prepare_run
from maetool.errors import OutputError, UsageError
from maetool.inspection.inspect import inspect_data
from maetool.inspection.page import to_html
from maetool.registry import DATASETS, MODELS


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process, without a page unless told so; return its exit code and what it printed."""

    def run(*arguments, page=False):
        none = [] if page or "--page" in arguments else ["--no-page"]
        monkeypatch.setattr(sys, "argv", ["check", *map(str, arguments), *none])
        code = 0
        try:
            check.main()
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().out

    return run


def labelled(data, number=6):
    return data.images(*(f"{part}/{name}/{i}.png" for part in ("train", "val") for name in "ab" for i in range(number)))


def several(data):
    return data.table(
        "t.csv", "path,x,y,patient", *(f"{i}.png,{i % 2},{(1, 0, '?')[i % 3]},{i // 2}" for i in range(16))
    )


def turned(data):
    data.coco(number=6)
    for path in (data.root / "images").iterdir():
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(picture(int(path.stem))).save(path, exif=exif)
    return data


def yolo(data):
    for part in ("train", "val"):
        for number in range(4):
            data.images(f"images/{part}/{number}.jpg").text(f"labels/{part}/{number}.txt", "0 0.5 0.5 0.25 0.5\n")
    return data.text("data.yaml", "names: [cat, dog]\ntrain: images/train\nval: images/val\n")


def bands(data):
    for number in range(6):
        data.array(f"{'ab'[number % 2]}/{number}.npy", picture(number, channels=5).astype(np.uint16) * 9)
    return data


def grey(data):
    for number in range(8):
        data.array(f"{'ab'[number % 2]}/{number}.png", picture(number)[..., 0])
    return data


T = "t.csv"
KINDS = {
    "images": (lambda data: data.images(*(f"{i}.jpg" for i in range(6))), "."),
    "my images, and more": (lambda data: data.images(*(f"{i}.jpg" for i in range(6))), "."),
    "classes": (labelled, "."),
    "bands": (bands, "."),
    "grey": (grey, "."),
    "table": (several, T),
    "numbers": (lambda d: d.table("t.csv", "path,age", *(f"{i}.png,{i * 1.5}" for i in range(16))), T),
    "paths": (lambda data: data.table("t.csv", "path,patient", *(f"{i}.png,{i // 2}" for i in range(8))), T),
    "names": (lambda d: d.table("t.csv", "path,kind", *(f"{i}.png,{'ab'[i % 2]}" for i in range(16))), T),
    "folds": (
        lambda d: d.table("t.csv", "path,label,fold", *(f"{i}.png,{i % 2},{i // 6}" for i in range(16))),
        "t.csv",
    ),
    "masks": (lambda data: data.masks("train/images", "train/masks", *[[0, 1, 2]] * 4), "."),
    "masks of other names": (lambda data: data.masks("input", "target", *[[0, 1, 2]] * 4), "."),
    "named masks": (
        lambda data: data.masks("images", "masks", *[[1, 2]] * 4).text("classes.txt", "road\nlane"),
        ".",
    ),
    "boxes": (lambda data: data.coco("train", "train/a.json").coco("val", "val/a.json"), "."),
    "yolo": (yolo, "."),
    "turned boxes": (turned, "."),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_accepts_what_is_offered(data, kind, tmp_path):
    data.root = tmp_path / kind
    make, name = KINDS[kind]
    report = inspect_data(make(data).root / name)
    assert len(report.commands) == 1 + (report.layout.task != "pretraining")
    for command in report.commands:
        accept(shlex.split(command.to_text().replace("\\\n", " ")), command)


def accept(words, command):
    """Build what `maetool train` with these words builds, in its --debug form, and load its data."""
    assert words == command.words
    assert words[:3] == ["maetool", "train", command.config] and words[3] == "--data"
    options = words[words.index("--cfg-options") + 1 :]
    cfg, _ = load_for(command.config, options, words[4], {}, debug=True)
    prepare_run(cfg)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert "inputs" in DATASETS.build(loader.dataset)[0]
    MODELS.build(cfg.model)
    mean = next(option for option in options if "preprocessor.mean" in option).partition("=")[2]
    assert json.loads(mean) == cfg.model.data_preprocessor.mean


def test_a_training_runs_on_what_is_offered(data, tmp_path):
    report = inspect_data(several(data).root / "t.csv")
    for command in report.commands:
        done = run_warm(["-m", *command.words, "--debug", "--work-dir", tmp_path / command.task], tmp_path)
        assert done.returncode == 0, done.stderr


def test_the_terminal(data, run):
    code, out = run(labelled(data).root)
    assert code == 0
    assert max(map(len, out.partition("To train")[0].replace(str(data.root), "").splitlines())) <= 100
    for line in ("parts       train 12, val 12", "files       24 images: 24 .png"):
        assert line in out
    assert re.search(r"\na +6 +6\nb +6 +6\n", out)
    assert out.count("maetool train ") == 2 and "\x1b" not in out and "\r" not in out


def test_json(data, run, tmp_path):
    labelled(data).array("train/a/x.png", picture(77)).array("val/a/x.png", picture(77)).text("x.mp4", "x")
    code, _ = run(data.root, "--json", tmp_path / "new" / "x.json")
    content = json.loads((tmp_path / "new" / "x.json").read_text())
    assert code == 0
    assert {name: part["images"] for name, part in content["parts"].items()} == {"train": 13, "val": 13}
    assert content["classes"]["counts"] == {"train": [7, 6], "val": [7, 6]}
    assert content["files"]["passed_over"] == [
        {"ending": ".mp4", "reason": "a video: write its frames as images", "files": 1}
    ]
    assert [[each["part"] for each in places] for places in content["copies"]["sets"]] == [["train", "val"]]
    assert content["pixels"]["height"] == [24, 24, 24] and content["pixels"]["range"][0] >= 0
    assert {finding["severity"] for finding in content["findings"]} >= {"error", "warning"}
    assert content["commands"][0]["words"][:2] == ["maetool", "train"]


def test_strict(data, run):
    assert run(labelled(data).root, "--strict")[0] == 0
    data.array("train/a/x.png", picture(77)).array("val/a/x.png", picture(77))
    assert run(data.root)[0] == 0
    assert run(data.root, "--strict")[0] == 1


def pictures_in(page):
    """Return the pictures of a page, and their captions."""
    import base64
    import io

    found = re.findall(r'base64,([^"]+)"><figcaption>(.*?)</figcaption>', page)
    return [(np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))).astype(int), text) for uri, text in found]


def test_the_page_holds_everything_itself(data, run, tmp_path):
    data.images("a/<b>&.png", "a/1.png", "b/2.png", "b/3.png", "b/4.png", "a/5.png")
    code, out = run(data.root, "--page", tmp_path / "x.html", "--pictures", 4)
    page = (tmp_path / "x.html").read_text()
    assert code == 0 and f"Wrote {tmp_path / 'x.html'}" in out
    assert not re.search(r'(src|href)="(?!data:)|<script|@import|url\(', page)
    assert "<b>" not in page and len(pictures_in(page)) == 6


def test_a_page_is_written_without_asking_and_replaces_only_its_own(data, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root, pages = data.images("a/1.png", "b/2.png").root, tmp_path / "work_dirs"
    first, second = (pages / f"check_{root.name}{more}.html" for more in ("", "_2"))
    assert "Wrote" not in run(root)[1] and not pages.exists()
    first.parent.mkdir()
    first.write_text("of a person")
    for _ in range(2):
        code, out = run(root, page=True)
        assert code == 0 and f"Wrote {second.relative_to(tmp_path)}: " in out
    assert first.read_text() == "of a person" and len(pictures_in(second.read_text())) == 2
    assert str(tmp_path) not in second.read_text().replace(str(root), "")  # which is the title, as it was typed
    assert sorted(pages.iterdir()) == [first, second]


def test_a_page_that_cannot_be_written_is_said_and_no_failure(data, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work_dirs").write_text("no folder")
    code, out = run(data.images("a/1.png", "b/2.png").root, page=True)
    assert code == 0 and "No page was written (Its place is work_dirs/check_" in out and "Not a directory" in out


def test_boxes_beside_their_objects_are_seen(data):
    """The box of a turned photograph lies elsewhere as stored, and on its object as EXIF turns it."""
    data.coco(number=6, boxes=[(2, 3, 10, 8)])
    for path in (data.root / "images").iterdir():
        array = np.full((24, 32, 3), 20, np.uint8)
        array[3:11, 2:12] = 250  # as a viewer shows it
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(array[::-1, ::-1].copy()).save(path, exif=exif)
    drawn = pictures_in(to_html(inspect_data(data.root), 1))
    assert [text.partition("<br>")[0] for _, text in drawn] == ["", "with dataset.exif=True"] * 2
    stored, shown = (array for array, _ in drawn[:2])
    scale = stored.shape[0] // 24
    inside = np.s_[6 * scale : 9 * scale, 8 * scale : 10 * scale]
    assert stored[inside].mean() < 130 < shown[inside].mean()


def test_masks_lie_over_their_images(data):
    data.masks("images", "masks", [0, 0, 0, 1], [0, 0, 0, 1]).text("classes.txt", "ground\ntree")
    for path in (data.root / "images").iterdir():
        Image.fromarray(np.full((24, 32, 3), 100, np.uint8)).save(path)
    page = to_html(inspect_data(data.root), 1)
    (array, _), *_ = pictures_in(page)
    rows = array[:: array.shape[0] // 24].mean(axis=1)  # (24, 3)
    reddish = rows[:, 0] - rows[:, 1] > 30
    assert reddish.tolist() == [i % 4 == 3 for i in range(24)]
    assert re.findall(r'class="swatch" style="background: rgb\((.*?)\)"></span>(\w+)', page) == [
        ("0,0,0", "ground"),
        ("128,0,0", "tree"),
    ]


def test_labels_are_captions(data):
    drawn = pictures_in(to_html(inspect_data(several(data).root / "t.csv"), 30))
    captions = {text.partition("<span>")[2].partition("<")[0]: text.partition("<br>")[0] for _, text in drawn}
    assert captions["0.png"] == "y" and captions["1.png"] == "x" and captions["3.png"] == "x, y"


@pytest.mark.parametrize(("option", "name"), [("--page", "x.txt"), ("--page", "x")])
def test_a_page_ends_in_html(data, run, option, name, tmp_path):
    with pytest.raises(UsageError, match=r"must end in \.html"):
        run(labelled(data).root, option, tmp_path / name)


@pytest.mark.parametrize("option", ["--json", "--page"])
def test_places_that_cannot_be_written_are_told_first(run, option, tmp_path):
    (tmp_path / "x.html").mkdir()
    with pytest.raises(OutputError, match=f"{option} is .*, which cannot be written"):
        run(tmp_path / "no data", option, tmp_path / "x.html")
