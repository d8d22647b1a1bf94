"""The tools of evaluation as a person uses them."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from warm import run_warm

from maetool.config.load import complete_config, load_config
from maetool.data import ShapesDataset
from maetool.registry import MODELS
from maetool.weights.write import write_checkpoint

CONFIG = "configs/finetune/vit-t_shapes.py"
SMALL = ["model.encoder.depth=1", "model.encoder.embed_dim=32", "model.encoder.num_heads=2"]
SMALL += ["model.encoder.patch_size=8", "val_dataloader.dataset.num_samples=40"]


def tool(repository, *arguments, code=0):
    result = run_warm(arguments, repository)
    assert result.returncode == code, result.stderr[-3000:]
    assert code == 0 or "Traceback" not in result.stderr
    return result.stdout if code == 0 else result.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def checkpoint(repository, tmp_path_factory):
    """A classifier before training, as training saves it."""
    cfg = load_config(repository / CONFIG, SMALL)
    complete_config(cfg)
    meta = {"cfg": cfg.pretty_text, "dataset_meta": ShapesDataset.metainfo}
    path = tmp_path_factory.mktemp("classifier") / "x.pth"
    write_checkpoint({"meta": meta, "state_dict": MODELS.build(cfg.model).state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, data = tmp_path_factory.mktemp("data"), ShapesDataset(80, 32, seed=3)
    for i in range(80):
        path = root / data.classes[data.label_of(i)] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(data[i]["inputs"].permute(1, 2, 0).numpy()).save(path)
    return root


def test_a_classifier_is_tested(repository, checkpoint, tmp_path):
    out = tool(repository, "tools/test.py", CONFIG, checkpoint, "--work-dir", tmp_path, "--cfg-options", *SMALL)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert f"{metrics['top1']:.4f}" in out
    assert metrics["classes"]["rings"]["images"] == 5
    for name in ("confusion_matrix.png", "reliability.png"):
        assert min(Image.open(tmp_path / name).size) > 300
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(i) for i in range(40)]
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert metrics["top1"] == pytest.approx(right / 40 * 100)
    assert all(0.125 <= float(row["probability"]) <= 1 for row in rows)


def test_a_folder_is_evaluated_in_one_command(repository, checkpoint, folder, tmp_path):
    arguments = [checkpoint, "--data", folder, "--untrained", "--workers", "0", "--json", tmp_path / "found.json"]
    out = tool(repository, "tools/quick_eval.py", *arguments)
    found = json.loads((tmp_path / "found.json").read_text())
    assert {"kNN", "linear probe", "kNN on pixels", "untrained, kNN"} <= found.keys()
    assert "to ask: 8 classes, 16 labelled images" in out
    assert f"{found['linear probe']['top1']:.1f} %" in out


def test_features_are_written(repository, checkpoint, folder, tmp_path):
    out = tmp_path / "features.npz"
    arguments = [checkpoint, "--data", folder, "--out", out, "--workers", "0"]
    assert "80 images, 32 numbers each, labels of 8 classes; 0 unreadable" in tool(
        repository, "tools/extract_features.py", *arguments
    )
    with np.load(out) as file:
        assert file["features"].shape == (80, 32)
        for path, label in zip(file["path"], file["label"], strict=True):
            assert path.startswith(f"{file['classes'][label]}/")


def test_a_checkpoint_without_encoder(repository, folder, tmp_path):
    torch.save({"state_dict": {"decoder.weight": torch.zeros(1)}}, tmp_path / "no.pth")
    arguments = [tmp_path / "no.pth", "--data", folder, "--out", tmp_path / "f.npz"]
    assert "no.pth holds no encoder" in tool(repository, "tools/extract_features.py", *arguments, code=2)
