"""A segmentor from a folder on disk to pictures of its predictions, and that its runs go on exactly."""

import json

import numpy as np
import pytest
from PIL import Image
from runs import EPOCHS, assert_same, final_state, make_runner, stopped_run

from maetool.config.debug import shrink
from maetool.config.load import load_config
from maetool.data.drawn.layouts import write_shapes
from maetool.data.drawn.scene import TEXTURES
from maetool.engine import launch
from maetool.errors import UsageError
from maetool.pretrained.predict import load_trained, predict
from maetool.weights.write import write_checkpoint

CONFIG = "configs/segmentation/upernet_vit-t_shapes.py"


def config(repository, work_dir, data=None, options=()):
    cfg = load_config(repository / CONFIG, options)
    if data:
        launch.use_data(cfg, str(data))
    shrink(cfg)
    cfg.work_dir = str(work_dir)
    return cfg


@pytest.fixture(scope="module")
def trained(tmp_path_factory, repository):
    """A folder of shapes, and the folder of a run on it."""
    folder = tmp_path_factory.mktemp("segmentation")
    write_shapes(folder / "data", "ade20k", 8, 8, (40, 24), seed=3)
    runner = launch.build_runner(config(repository, folder / "run", folder / "data"))
    runner.train()
    metrics = runner.val_loop.run()
    told = runner.val_loop.report(folder)
    return folder, runner, metrics, told


def test_a_folder_is_trained_on_and_measured(trained):
    folder, runner, metrics, told = trained
    dataset = runner.val_dataloader.dataset
    assert runner.bare_model.num_classes == len(dataset.classes) == 8
    assert runner.train_dataloader.dataset.zero_is_ignored and dataset.zero_is_ignored
    scores = runner.val_loop.evaluators["pixels"].scores
    assert scores.confusion.sum() == 8 * 40 * 24
    assert metrics == scores.metrics
    assert list(told["class_iou"]) == dataset.classes
    rows = (folder / "classes.csv").read_text().splitlines()
    assert rows[0] == "class,iou,accuracy,pixels"
    assert len(rows) == 9
    assert sum(int(row.split(",")[3]) for row in rows[1:]) == 8 * 40 * 24


def test_damaged_files_do_not_end_a_run(repository, tmp_path):
    write_shapes(tmp_path / "data", "ade20k", 8, 8, (40, 24), seed=3)
    damaged = [tmp_path / "data" / name for name in ("images/training/000002.jpg", "annotations/validation/000001.png")]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:60])
    cfg = config(repository, tmp_path / "run", tmp_path / "data")
    cfg.train_dataloader.dataset.max_broken = cfg.val_dataloader.dataset.max_broken = 0.2
    runner = launch.build_runner(cfg)
    runner.train()
    assert f"Broken file passed over: {damaged[0]}: " in next((tmp_path / "run").glob("*/*.log")).read_text()
    assert runner.val_loop.evaluators["pixels"].scores.confusion.sum() == 7 * 40 * 24


def test_the_visualiser_gets_pictures_of_the_classes(trained):
    folder, *_ = trained
    pictures = sorted((folder / "run").rglob("vis_image/segmentation_*.png"))
    assert pictures
    assert np.asarray(Image.open(pictures[-1])).shape[1] > 3 * 24


def test_predictions_are_drawn_and_told(repository, trained, tmp_path):
    folder, runner, *_ = trained
    cfg = config(repository, tmp_path, folder / "data")
    model = load_trained(cfg, str(folder / "run" / "epoch_2.pth"))
    assert list(model.classes) == runner.val_dataloader.dataset.classes
    path = folder / "data/images/validation/000001.jpg"
    found = predict(model, path)
    json.dumps(found.told)
    assert (found.told["height"], found.told["width"]) == (40, 24)
    semantic = found.maps["classes"]
    assert semantic.shape == (40, 24)
    for row in found.told["classes"]:
        assert row["share"] == pytest.approx((semantic == row["number"]).mean(), abs=1e-4)
        assert row["class"] == model.classes[row["number"]]
    assert sum(row["share"] for row in found.told["classes"]) == pytest.approx(1, abs=1e-3)
    assert found.picture.shape[0] >= 40 + 20 * len(found.told["classes"])
    with pytest.raises(UsageError, match="cannot be read"):
        predict(model, folder / "data/classes.txt")


def test_a_classifier_predicts_too(repository, tmp_path):
    runner = make_runner(repository, tmp_path / "run", config="configs/finetune/vit-t_shapes.py")
    meta = {"dataset_meta": {"classes": tuple(TEXTURES)}}
    write_checkpoint({"meta": meta, "state_dict": runner.bare_model.state_dict()}, tmp_path / "start.pth")
    cfg = load_config(repository / "configs/finetune/vit-t_shapes.py")
    shrink(cfg)
    Image.fromarray(np.arange(30 * 50 * 3, dtype=np.uint8).reshape(30, 50, 3)).save(tmp_path / "image.png")
    found = predict(load_trained(cfg, str(tmp_path / "start.pth")), tmp_path / "image.png")
    rows = found.told["classes"]
    assert len(rows) == 5
    assert {row["class"] for row in rows} <= set(TEXTURES)
    assert [row["probability"] for row in rows] == sorted((row["probability"] for row in rows), reverse=True)
    cfg = load_config(repository / "configs/mae/vit-t_shapes.py")
    with pytest.raises(UsageError, match="MaskedImageModel makes no predictions"):
        load_trained(cfg, "unused.pth")


def test_a_run_goes_on_exactly(repository, tmp_path):
    make_runner(repository, tmp_path / "unbroken", every=0, config=CONFIG).train()
    stopped_run(repository, tmp_path / "broken", 7, config=CONFIG)
    make_runner(repository, tmp_path / "broken", resume=True, config=CONFIG).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))
    assert (tmp_path / "broken" / f"epoch_{EPOCHS}.pth").is_file()


def test_other_data_than_the_models_is_named(repository, tmp_path):
    cfg = config(repository, tmp_path)
    cfg.model.num_classes, cfg.model.class_weight = 5, None
    runner = launch.build_runner(cfg)
    with pytest.raises(UsageError, match=r"The data has 8 classes .* model.num_classes is 5"):
        runner.train()
    cfg = config(repository, tmp_path)
    cfg.val_dataloader.dataset = {"type": "ShapesDataset", "num_samples": 8}
    runner = launch.build_runner(cfg)
    with pytest.raises(UsageError, match="ShapesDataset, which has no pixel classes"):
        runner.train()
