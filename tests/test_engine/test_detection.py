"""Runs of a detector: from files, validated, resumed exactly, pictures and tables; published weights in full size."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import EPOCHS, StopAt, assert_same, make_runner

from maetool.config.checks import check_config
from maetool.config.debug import shrink
from maetool.config.layouts.coco import coco_places
from maetool.config.load import complete_config, load_config
from maetool.config.user_data import use_data
from maetool.data import ObjectShapesDataset
from maetool.data.datasets.detection import collate_objects
from maetool.data.drawn.layouts import write_shapes
from maetool.data.drawn.scene import OUTLINES
from maetool.engine import launch
from maetool.engine.optim.schedules import WarmupStepLR
from maetool.errors import UsageError
from maetool.pretrained.initial import load_initial
from maetool.pretrained.predict import load_trained, predict
from maetool.pretrained.predict_objects import find_objects, predict_objects
from maetool.registry import MODELS
from maetool.visualization.curves import read_logs
from maetool.weights.read import read_checkpoint

TINY = "configs/detection/vitdet_mask-rcnn_vit-t_shapes.py"
FULL = [
    "mask-rcnn_vit-b_coco_100e",
    "mask-rcnn_vit-l_coco_100e",
    "faster-rcnn_vit-b_coco_100e",
    "mask-rcnn_vit-b_own_50e",
]


def coco_folder(root):
    """Drawn shapes as files, 8 in train/ and 4 in val/."""
    write_shapes(root, "coco", 8, 4, 32)
    return root


def file_runner(repository, data, work_dir, resume=False):
    cfg = load_config(repository / TINY)
    use_data(cfg, str(data))
    shrink(cfg)
    cfg.work_dir, cfg.resume = str(work_dir), resume
    cfg.default_hooks.checkpoint.every_n_iters = 1
    return launch.build_runner(cfg)


def test_a_run_on_files_validates_and_goes_on_exactly(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MMEngine formats configs with long paths for minutes
    data = coco_folder(Path("data"))
    file_runner(repository, data, tmp_path / "unbroken").train()
    runner = file_runner(repository, data, tmp_path / "broken")
    runner.register_hook(StopAt(3), "LOWEST")
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    file_runner(repository, data, tmp_path / "broken", resume=True).train()
    states = [read_checkpoint(tmp_path / name / "epoch_2.pth") for name in ("unbroken", "broken")]
    for part in ("state_dict", "optimizer", "param_schedulers"):
        assert_same(states[0][part], states[1][part])
    assert {"val/box_ap", "val/mask_ap", "loss", "objectness", "masks"} <= read_logs(tmp_path / "unbroken").keys()
    (path,) = (tmp_path / "unbroken").glob("*/vis_data/vis_image/objects_2.png")
    picture = Image.open(path)
    assert picture.size == (2 * (256 + 6) + 6, 4 * (256 + 6) + 6)  # truth and prediction of four images


@pytest.fixture(scope="module")
def trained(repository, tmp_path_factory):
    """A runner after a short training, with a validation."""
    work_dir = tmp_path_factory.mktemp("trained")
    runner = make_runner(repository, work_dir, config=TINY)
    runner.train()
    return runner


class Oracle(torch.nn.Module):
    """Finds exactly what a dataset says."""

    with_masks = True

    def __init__(self, dataset, preprocessor):
        super().__init__()
        self.dataset, self.data_preprocessor = dataset, preprocessor

    def forward(self, images, data_samples, mode):
        found = []
        for index in data_samples["index"].tolist():
            objects = self.dataset.load(index)["objects"]
            found.append({**vars(objects), "scores": torch.ones(len(objects))})
        return found


def test_validation_of_what_finds_everything(trained, tmp_path):
    """Through the loop, the ids and the classes; by way of the training's class names."""
    loop = trained.val_loop
    model, trained.model = trained.model, Oracle(loop.dataloader.dataset, trained.model.data_preprocessor)
    try:
        metrics = loop.measure()
        assert metrics["box_ap"] == metrics["mask_ap"] == pytest.approx(100)
        loop.report(tmp_path)
    finally:
        trained.model = model
    rows = list(csv.reader((tmp_path / "classes.csv").open()))
    assert rows[0] == ["class", "box_ap", "mask_ap"] and [row[0] for row in rows[1:]] == list(OUTLINES)
    assert {row[1] for row in rows[1:]} <= {"100.00", "nan"}
    results = json.loads((tmp_path / "detections.json").read_text())
    assert results[0].keys() == {"image_id", "category_id", "score", "bbox", "segmentation"}


def test_validation_data_that_does_not_fit_is_refused(trained):
    loop = trained.val_loop
    dataset = loop.dataloader.dataset
    classes, masks = dataset.classes, dataset.with_masks
    try:
        dataset.classes = ["unicorn", *classes[1:]]
        with pytest.raises(UsageError, match=r"The data has the class `unicorn` \(1 such\), but the model was trained"):
            loop.measure()
        dataset.classes, dataset.with_masks = classes, False
        with pytest.raises(UsageError, match="The validation data has boxes without masks"):
            loop.measure()
    finally:
        dataset.classes, dataset.with_masks = classes, masks


def test_objects_of_a_file_are_found_drawn_and_told(trained, tmp_path):
    model = trained.model.eval()
    path = tmp_path / "picture.png"
    Image.fromarray(ObjectShapesDataset(1, (48, 80)).scene(0).image).save(path)
    picture, told = predict_objects(model, path, list(OUTLINES), threshold=0.0)
    json.dumps(told)
    assert (told["height"], told["width"]) == (48, 80)
    assert picture.shape == (240, 400, 3) and picture.dtype == np.uint8  # enlarged five times
    objects = told["objects"]
    assert objects and objects[0]["class"] in OUTLINES and objects[0]["mask"]["size"] == [48, 80]
    left, top, right, bottom = objects[0]["box"]
    assert 0 <= left < right <= 80 and 0 <= top < bottom <= 48
    assert predict_objects(model, path, list(OUTLINES), threshold=1.0)[1]["objects"] == []
    with pytest.raises(UsageError, match="threshold is 2"):
        predict_objects(model, path, list(OUTLINES), threshold=2)
    with pytest.raises(UsageError, match="names for 1 classes, but the model has 7"):
        predict_objects(model, path, ["one"])
    with pytest.raises(UsageError, match=r"The image cannot be read: .*nothing\.png"):
        predict_objects(model, tmp_path / "nothing.png", list(OUTLINES))


def test_the_tool_takes_what_a_run_leaves(trained, tmp_path):
    work_dir = Path(trained.work_dir)
    config = load_config(work_dir / Path(TINY).name)
    loaded = replace(load_trained(config, str(work_dir / f"epoch_{EPOCHS}.pth")), threshold=0.0)
    assert loaded.classes == list(OUTLINES)
    path = tmp_path / "picture.png"
    Image.fromarray(ObjectShapesDataset(1, 32).scene(0).image).save(path)
    found = predict(loaded, path)
    expected = predict_objects(trained.model.eval(), path, list(OUTLINES), threshold=0.0)
    assert found.told == expected[1] and found.told["objects"]
    assert np.array_equal(found.picture, expected[0])


def test_an_image_of_the_right_size_is_found_in_as_in_the_validation(trained):
    model, dataset = trained.model.eval(), trained.val_loop.dataloader.dataset
    batch = model.data_preprocessor(collate_objects([dataset[0]]))
    with torch.no_grad():
        (expected,) = model(**batch, mode="predict")
    assert_same(expected, find_objects(model, dataset.load(0)["inputs"]))


def test_data_of_the_users(repository, tmp_path):
    data = coco_folder(tmp_path / "two")
    cfg = load_config(repository / TINY)
    use_data(cfg, str(data))
    assert cfg.train_dataloader.dataset.annotations == str(data / "train" / "annotations.json")
    assert cfg.val_dataloader.dataset.root == str(data / "val" / "images")
    assert [each.type for each in cfg.train_dataloader.dataset.pipeline] == ["FlipObjects", "LargeScaleJitter"]
    assert cfg.model.num_classes == 7
    check_config(cfg)
    complete_config(cfg)
    assert cfg.val_dataloader.dataset.with_masks is True
    train, val = coco_places(data / "train")
    assert (train.pop("part"), val.pop("part")) == ("train", "val") and train == val
    published = tmp_path / "published"
    (published / "annotations").mkdir(parents=True)
    for part in ("train", "val"):
        (published / f"annotations/instances_{part}2017.json").touch()
    assert [place["root"] for place in coco_places(published)] == [f"{published}/{p}2017" for p in ("train", "val")]
    with pytest.raises(UsageError, match=r"holds no annotations: expected .*annotations\.json"):
        coco_places(tmp_path)


def test_data_of_boxes_alone(repository, tmp_path):
    root = coco_folder(tmp_path / "data") / "train"
    said = json.loads((root / "annotations.json").read_text())
    for annotation in said["annotations"]:
        del annotation["segmentation"]
    (root / "annotations.json").write_text(json.dumps(said))
    with pytest.raises(UsageError, match=r"annotation 1: it has no segmentation\): use a model of boxes alone"):
        use_data(load_config(repository / TINY), str(root))
    cfg = load_config(repository / TINY, ["model.with_masks=False"])
    use_data(cfg, str(root))
    assert cfg.train_dataloader.dataset.with_masks is False and cfg.model.num_classes == 7


def test_rates_fall_at_their_places():
    group = torch.nn.Parameter(torch.zeros(1))
    schedule = WarmupStepLR(torch.optim.SGD([group], lr=1.0), 100, 10, (8 / 9, 26 / 27), epoch_length=1)
    expected = {0: 0, 5: 0.5, 10: 1, 88: 1, 89: 0.1, 96: 0.1, 97: 0.01, 100: 0.01}
    assert {epoch: pytest.approx(schedule.at(epoch, 1.0)) for epoch in expected} == expected
    with pytest.raises(UsageError, match="milestones is"):
        WarmupStepLR(torch.optim.SGD([group], lr=1.0), 100, 10, (90,))


def published(cfg, path):
    """Write a file with the names and shapes of facebookresearch/mae for the encoder of a config, all ones."""
    width, depth = cfg.model.encoder.embed_dim, cfg.model.encoder.depth
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 197, width), "patch_embed.proj.weight": (width, 3, 16, 16)}
    shapes |= {"patch_embed.proj.bias": (width,), "norm.weight": (width,), "norm.bias": (width,)}
    for block in range(depth):
        linear = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        linear |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        for name, shape in linear.items():
            shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{norm}.{kind}": (width,) for kind in ("weight", "bias")}
    torch.save({"model": {name: torch.ones(1).expand(shape) for name, shape in shapes.items()}}, path)
    return path


@pytest.mark.parametrize("name", FULL)
def test_full_size_loads_published_weights_and_steps(repository, tmp_path, monkeypatch, name):
    monkeypatch.setattr("maetool.weights.read._MORE_BYTES", 2**32)  # the file repeats one number
    cfg = load_config(repository / f"configs/detection/vitdet_{name}.py")
    cfg.model.update(regions_sampled=8, num_proposals=16)
    check_config(cfg)
    complete_config(cfg)
    model = MODELS.build(cfg.model)
    report = load_initial(model, published(cfg, tmp_path / "mae.pth"))
    assert report.share > 0.99
    assert [each for each in report.missing if each.startswith("encoder.") and "rel_pos" not in each] == []
    assert sorted(report.unused) == ["encoder.cls_token", "encoder.norm.bias", "encoder.norm.weight"]
    grid = cfg.model.encoder.img_size // 16
    assert report.resized == [f"encoder.pos_embed from 14x14 to {grid}x{grid}"]
    assert (model.encoder.blocks[-1].mlp.fc2.weight == 1).all()
    mask = torch.zeros(1, 64, 96, dtype=torch.bool)
    mask[:, 8:40, 16:64] = True
    target = {"boxes": torch.tensor([[16.0, 8, 64, 40]]), "labels": torch.tensor([79]), "masks": mask}
    loss = model(torch.randn(1, 3, 64, 96), {"targets": [target]})["loss"]
    loss.backward()
    assert loss.isfinite() and model.encoder.patch_embed.proj.weight.grad is not None
