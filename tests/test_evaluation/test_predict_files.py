"""`maetool predict` over folders: in batches, by several processes, to a file, with files that are broken."""

import json
import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from warm import run_job

from maetool.config.load import complete_config, load_config
from maetool.data import ShapesDataset
from maetool.errors import UsageError
from maetool.pretrained import predict_files as room
from maetool.pretrained.predict import load_trained, predict
from maetool.pretrained.predict_files import check_out, predict_files
from maetool.registry import MODELS
from maetool.visualization.overlays import with_bars
from maetool.weights.write import write_checkpoint

FINETUNE = "configs/finetune/vit-t_shapes.py"
SEGMENTATION = "configs/segmentation/linear_vit-t_shapes.py"
SMALL = ["model.encoder.depth=1", "model.encoder.embed_dim=32", "model.encoder.num_heads=2"]
SMALL += ["model.encoder.patch_size=8"]


def saved(repository, config, path):
    cfg = load_config(repository / config, SMALL)
    complete_config(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    for value in model.parameters():  # the last map begins at zero
        value.data += 0.1 * torch.randn_like(value)
    meta = {"cfg": cfg.pretty_text, "dataset_meta": ShapesDataset.metainfo}
    write_checkpoint({"meta": meta, "state_dict": model.state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def checkpoint(repository, tmp_path_factory):
    return saved(repository, FINETUNE, tmp_path_factory.mktemp("classifier") / "x.pth")


@pytest.fixture(scope="module")
def trained(repository, checkpoint):
    return load_trained(load_config(repository / FINETUNE, SMALL), checkpoint)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return a folder of eight pictures of several sizes, of which the fourth is broken."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(8):
        pixels = rng.integers(0, 256, (32 + number % 3, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes(b"no picture")
    return folder


def records(trained, images, **options):
    paths = [str(path) for path in sorted(images.iterdir())]
    found = predict_files(trained, paths, workers=0, **options)
    return {number: each if isinstance(each, str) else each.record for number, each in found}


def test_batches_give_what_single_images_do(trained, images):
    together, apart = (records(trained, images, batch_size=number, draw=False) for number in (5, 1))
    paths = sorted(images.iterdir())
    singly = {number: predict(trained, path).record for number, path in enumerate(paths) if number != 3}
    assert "3.png" in together.pop(3) and "3.png" in apart.pop(3)
    assert len({json.dumps(each["classes"]) for each in singly.values()}) == 7
    for several in (together, apart):
        assert several.keys() == singly.keys()
        for number, record in singly.items():
            assert several[number]["image"] == record["image"]
            pairs = zip(several[number]["classes"], record["classes"], strict=True)
            assert all(mine["class"] == other["class"] for mine, other in pairs)


def test_pixels_of_images_of_any_size(repository, images, tmp_path):
    checkpoint = saved(repository, SEGMENTATION, tmp_path / "x.pth")
    trained = load_trained(load_config(repository / SEGMENTATION, SMALL), checkpoint)
    assert [each["height"] for number, each in sorted(records(trained, images).items()) if number != 3] == [
        *(32, 33, 34, 33, 34, 32, 33)
    ]
    with pytest.raises(UsageError, match=r"cannot hold pixels or objects, which are no table"):
        check_out(str(tmp_path / "x.csv"), trained)


@pytest.fixture
def command(monkeypatch, capsys, repository, checkpoint, images):
    """Return a function that predicts the images into a file or folder, and returns what the command prints."""

    def call(out, *places):
        words = [repository / FINETUNE, checkpoint, *(places or [images]), "--out", out, "--workers", 0]
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, words), "--batch-size", "3", "--cfg-options", *SMALL])
        runpy.run_module("maetool.commands.predict", run_name="here")["main"]()
        return capsys.readouterr().out

    return call


def test_two_processes_of_torchrun_write_what_one_does(command, repository, checkpoint, images, tmp_path):
    out = command(tmp_path / "one.json")
    assert "3.png" in out and f"Wrote 7 predictions to {tmp_path / 'one.json'}; 1 of 8 images cannot be read." in out
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]
    words = ["-m", "maetool", "predict", FINETUNE, checkpoint, images, "--out", tmp_path / "two.json"]
    results = run_job([*words, "--workers", 0, "--batch-size", 3, "--cfg-options", *SMALL], repository)
    assert [result.returncode for result in results] == [0, 0], results
    assert ["Wrote 7 predictions" in result.stdout for result in results] == [True, False]
    assert (tmp_path / "two.json").read_text() == (tmp_path / "one.json").read_text()
    names = [record["image"] for record in json.loads((tmp_path / "one.json").read_text())]
    assert names == [str(path) for path in sorted(images.iterdir()) if path.name != "3.png"]


def test_a_folder_gets_pictures(command, images, tmp_path):
    assert "Wrote 7 pictures and predictions.json and predictions.csv" in command(tmp_path / "out")
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert all((tmp_path / "out" / entry["picture"]).is_file() for entry in entries)
    with pytest.raises(UsageError, match=r"cannot be read: .*3\.png"):
        command(tmp_path / "out", images / "3.png")


def test_parquet_holds_what_json_does(command, images, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    command(tmp_path / "x.parquet")
    command(tmp_path / "x.json")
    assert parquet.read_table(tmp_path / "x.parquet").to_pylist() == json.loads((tmp_path / "x.json").read_text())


def test_parquet_without_pyarrow(trained, monkeypatch, tmp_path):
    monkeypatch.setattr(room, "is_installed", lambda name: False)
    with pytest.raises(UsageError, match=r'pip install "maetool\[parquet\]", or name a file in .json'):
        check_out(str(tmp_path / "x.parquet"), trained)


def test_bars_are_as_long_as_their_shares():
    drawn = with_bars(np.zeros((10, 212, 3), np.uint8), ["", ""], [0.5, 0.25])
    blue = (drawn == (160, 200, 240)).all(axis=2)
    assert [blue[row].sum() for row in (20, 40)] == [101, 51]
