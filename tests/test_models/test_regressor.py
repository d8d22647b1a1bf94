"""Numbers that are predicted: tables of them, the losses, the metrics, and a training from a table."""

import csv
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from maetool.config.load import load_config, load_for
from maetool.data import CsvDataset, MeasuredShapes, ShapesDataset
from maetool.encoders import VisionTransformer
from maetool.engine.launch import build_runner
from maetool.errors import UsageError
from maetool.evaluation.regression import aligned_names, errors_of
from maetool.models import ImageRegressor
from maetool.pretrained.predict import load_trained, predict

CONFIG = """
_base_ = "maetool::finetune/vit-t_shapes.py"
encoder = dict(type="VisionTransformer", img_size=16, patch_size=8, embed_dim=32, depth=1, num_heads=2)
model = dict(_delete_=True, type="ImageRegressor", encoder=encoder, data_preprocessor=dict(type="ImagePreprocessor"))
train_dataloader = dict(batch_size=8)
val_cfg = dict(evaluators=dict(_delete_=True, numbers=dict(type="RegressionEvaluator")))
train_cfg = dict(max_epochs=12)
base_lr = 0.1
effective_batch_size = None
"""


@pytest.fixture
def folder(tmp_path):
    rows = ["path,brightness,twice,hole,same"]
    for i in range(40):
        Image.fromarray(np.full((16, 16, 3), 5 * i, np.uint8)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{1000 + 5 * i},{10 * i}.5,{'' if i % 4 else i},3")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def regressor(**options):
    torch.manual_seed(0)
    encoder = VisionTransformer(img_size=16, patch_size=8, embed_dim=24, depth=1, num_heads=3)
    return ImageRegressor(encoder, **options).eval()


def images(number=4):
    return torch.randn(number, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_columns_of_numbers(folder):
    data = CsvDataset(folder / "table.csv", targets=["twice", "hole"], missing="ignore")
    assert (data.classes, data.targets) == ([], ["twice", "hole"])
    assert data.labels[:2].tolist() == [[0.5, 0], [10.5, pytest.approx(math.nan, nan_ok=True)]]
    assert data[4]["label"].tolist() == [40.5, 4]
    parts = [CsvDataset(folder / "table.csv", targets="brightness", part=part).labels for part in ("train", "val")]
    assert [len(part) for part in parts] == [32, 8]
    assert sorted(torch.cat(parts).flatten().tolist()) == [1000 + 5 * i for i in range(40)]


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [
        ("age", r"targets names `age`, but .* has the columns path, brightness"),
        ([], r"targets names no column"),
        ("hole", r"Row 3 of .* has `` in the column `hole`.*: set dataset.missing=\"ignore\""),
        ("path", r"Row 2 of .* has `0.png` in the column `path`, which is not a finite number: correct the cell"),
        ("same", r"The column `same` of .* holds fewer than two different numbers"),
    ],
)
def test_columns_that_hold_no_numbers(folder, targets, sentence):
    with pytest.raises(UsageError, match=sentence):
        CsvDataset(folder / "table.csv", targets=targets)


@pytest.mark.parametrize("loss", ["l2", "l1", "huber"])
def test_the_loss_is_that_of_standardised_known_numbers(loss):
    model = regressor(num_targets=2, loss=loss, delta=0.5)
    labels = torch.tensor([[10.0, 1], [20, math.nan], [30, 2], [40, 6]])
    model.learn_balance(labels)
    torch.testing.assert_close(model.target_mean, torch.tensor([25.0, 3]))
    torch.testing.assert_close(model.target_std, torch.tensor([125**0.5, (14 / 3) ** 0.5]))
    standard, known = (labels - model.target_mean) / model.target_std, ~labels.isnan()
    predicted = model(images(), mode="predict")
    small = (predicted - model.target_mean) / model.target_std
    function = {"l2": functional.mse_loss, "l1": functional.l1_loss}.get(
        loss, lambda a, b: functional.huber_loss(a, b, delta=0.5)
    )
    losses = model(images(), {"label": labels})
    torch.testing.assert_close(losses["loss"], function(small[known], standard[known]), rtol=1e-4, atol=1e-5)
    expected = function(torch.zeros(7), standard[known])
    torch.testing.assert_close(losses["constant_predictor"], expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_targets": 0}, "num_targets is 0"),
        ({"loss": "mae"}, "loss is 'mae'"),
        ({"delta": 0.0}, "delta 0.0"),
        ({"num_targets": 3}, "must|shape"),
    ],
)
def test_what_makes_no_sense(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        regressor(**options)(images(), {"label": torch.zeros(4, 2)})


def test_metrics_by_hand():
    found = errors_of(np.array([1.0, 2, 3, math.nan]), np.array([1.0, 2, 5, 9]))
    assert found == pytest.approx({"mae": 2 / 3, "rmse": (4 / 3) ** 0.5, "r2": 1 - 4 / 2})
    assert math.isnan(errors_of(np.array([1.0, 1]), np.array([1.0, 2]))["r2"])


def test_a_table_is_learnt_by_data_and_targets(folder):
    path = folder / "numbers.py"
    path.write_text(CONFIG)
    options = ["train_dataloader.dataset.targets=[brightness,twice]"]
    cfg, _ = load_for(path, options, str(folder / "table.csv"))
    assert cfg.model.num_targets == 2 and cfg.val_dataloader.dataset.targets == ["brightness", "twice"]
    cfg.work_dir = str(folder / "work")
    runner = build_runner(cfg)
    runner.train()
    metrics = runner.val()
    assert metrics["r2"] > 0.8 and metrics["mae"] < 40
    evaluator = runner.val_loop.evaluators["numbers"]
    assert set(evaluator.report(folder)["targets"]) == {"brightness", "twice"}
    rows = list(csv.reader((folder / "predictions.csv").open()))
    assert rows[0] == ["path", "brightness", "twice", "predicted brightness", "predicted twice"] and len(rows) == 9
    assert Image.open(folder / "scatter.png").size[0] > 100
    save_and_use(runner, cfg, folder, path)


def save_and_use(runner, cfg, folder, path):
    """Predict by a checkpoint, measure it on columns in another order, and refuse to resume with that."""
    checkpoint = str(folder / "work" / "epoch_12.pth")
    trained = load_trained(load_config(path, [f"model.num_targets={cfg.model.num_targets}"]), checkpoint)
    with pytest.raises(UsageError, match=r"is a folder: pass the image files in it, such as .*\*\.jpg"):
        predict(trained, folder)
    found = predict(trained, folder / "20.png").record["numbers"]
    rows = {row["path"]: row for row in csv.DictReader((folder / "predictions.csv").open())}
    row = predict(trained, folder / next(iter(rows)))
    expected = rows[next(iter(rows))]
    for name in ("brightness", "twice"):
        assert row.record["numbers"][name] == pytest.approx(float(expected[f"predicted {name}"]), rel=1e-3)
    assert row.picture.shape[0] > 16 and 1050 < found["brightness"] < 1150
    columns = ["train_dataloader.dataset.targets=[twice,brightness]"]
    swapped, _ = load_for(path, columns, str(folder / "table.csv"))
    swapped.work_dir, swapped.load_from = str(folder / "swapped"), checkpoint
    measured = build_runner(swapped)
    measured.measure_from(checkpoint, measured.val_loop)
    assert measured.val()["r2"] == pytest.approx(runner.val()["r2"])
    swapped, _ = load_for(path, columns, str(folder / "table.csv"))
    swapped.work_dir, swapped.load_from, swapped.resume = str(folder / "again"), checkpoint, True
    with pytest.raises(UsageError, match="numbers to predict"):
        build_runner(swapped).train()


@pytest.mark.parametrize(
    ("own", "trained", "order", "words"),
    [
        (["a", "b"], ["b", "a"], ["b", "a"], ""),
        (["a"], [], ["a"], ""),
        (["a"], ["b"], ["a"], "trained to predict b, and the data has a"),
    ],
)
def test_numbers_are_compared_by_name(monkeypatch, own, trained, order, words):
    lines = []
    monkeypatch.setattr("maetool.evaluation.regression.print_log", lambda text, **_: lines.append(text))
    assert aligned_names(own, trained) == order
    assert words in "".join(lines) and bool(lines) == bool(words)


def test_folders_hold_no_numbers(folder):
    path = folder / "numbers.py"
    path.write_text(CONFIG)
    with pytest.raises(UsageError, match="ImageRegressor predicts numbers from the columns of a table"):
        load_for(path, [], str(folder))


def test_debug_draws_numbers_where_the_table_is_missing(folder):
    path = folder / "numbers.py"
    table = 'dict(_delete_=True, type="CsvDataset", csv_file="none.csv", targets=["a", "b"])'
    path.write_text(CONFIG + f"train_dataloader.update(dataset={table})\nval_dataloader = dict(dataset={table})\n")
    cfg, _ = load_for(path, [], debug=True)
    assert cfg.train_dataloader.dataset.type == "MeasuredShapes"
    cfg.work_dir = str(folder / "work")
    build_runner(cfg).train()


def test_drawn_numbers_are_shares_of_the_objects():
    data = MeasuredShapes(5, 32, seed=3)
    shares = [float((ShapesDataset(5, 32, seed=3).scene(i).semantic > 0).mean()) * 100 for i in range(5)]
    assert [data[i]["label"].item() for i in range(5)] == pytest.approx(shares)
    assert data.classes == [] and len(set(shares)) == 5
