"""A broken file among the images of a validation is named, counted, and left out of every metric alike."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from PIL import Image
from runs import make_runner

from maetool.errors import UsageError
from maetool.registry import METRICS

IMAGES, BROKEN = 20, 13
CROP = [{"type": "ResizeCenterCrop"}]


@METRICS.register_module()
class CountsImages(BaseMetric):
    """The images that a metric of `val_evaluator` sees, and how many predictions there are for them."""

    def process(self, data_batch, data_samples):
        self.results += [int(index) for index in data_batch["index"]]
        assert len(data_samples) == len(data_batch["index"]) == len(data_batch["skipped"])

    def compute_metrics(self, results):
        return {"images": len(set(results)), "broken": float(BROKEN in results), "results": len(results)}


def write(path, number, channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (32, 32, channels), dtype=np.uint8)
    Image.fromarray(pixels if channels == 3 else pixels[..., 0] % 3).save(path)


def write_folders(root):
    for part in ("train", "val"):
        for index in range(IMAGES):
            write(root / part / "ab"[index >= IMAGES // 2] / f"{index:02}.png", index)


def write_segmentation(root):
    (root / "classes.txt").parent.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("x\ny\nz\n")
    for part in ("train", "val"):
        for index in range(IMAGES):
            write(root / "images" / part / f"{index:02}.png", index)
            write(root / "annotations" / part / f"{index:02}.png", index, channels=1)


def write_coco(root):
    images = [{"id": i, "file_name": f"{i:02}.png", "height": 32, "width": 32} for i in range(IMAGES)]
    corners = {"bbox": [4, 4, 12, 12], "area": 144, "segmentation": [[4, 4, 16, 4, 16, 16, 4, 16]]}
    boxes = [{"id": i + 1, "image_id": i, "category_id": 1, "iscrowd": 0, **corners} for i in range(IMAGES)]
    table = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "t"}]}
    for part in ("train", "val"):
        for index in range(IMAGES):
            write(root / part / f"{index:02}.png", index)
        (root / f"{part}.json").write_text(json.dumps(table))


def folder(root, part):
    return {"type": "ImageFolderDataset", "root": str(root / part), "with_labels": True, "pipeline": CROP}


def segmentation(root, part):
    places = {"images": f"images/{part}", "annotations": f"annotations/{part}", "image_suffix": ".png"}
    return {"type": "SegmentationDataset", "root": str(root), "pipeline": [], **places}


def coco(root, part):
    places = {"root": str(root / part), "annotations": str(root / f"{part}.json")}
    return {"type": "CocoDataset", "pipeline": [], **places}


TASKS = {
    "pretraining": ("mae/vit-t_shapes", write_folders, folder, {}),
    "classification": ("finetune/vit-t_shapes", write_folders, folder, {"num_classes": 2}),
    "segmentation": (
        "segmentation/linear_vit-t_shapes",
        write_segmentation,
        segmentation,
        {"num_classes": 3, "class_weight": None},
    ),
    "detection": ("detection/vitdet_mask-rcnn_vit-t_shapes", write_coco, coco, {"num_classes": 1}),
}


def build(repository, tmp_path, task, damage=True, **dataset):
    """Return a runner that validates 20 images, of which number 13 breaks after the dataset is built."""
    config, prepare, dataset_of, facts = TASKS[task]
    root = tmp_path / "data"
    prepare(root)
    options = [f"model.{name}={value}" for name, value in facts.items()]
    evaluator = [] if task == "detection" else [{"type": "CountsImages"}]
    sections = {"val_evaluator": evaluator, "log_to": []}
    loader = {"batch_size": 3, "num_workers": 0, "sampler": {"type": "KeyedSampler", "shuffle": False}}
    loader |= {"dataset": {**dataset_of(root, "val"), **dataset}, "drop_last": False}
    loader["collate_fn"] = {"type": "collate_objects" if task == "detection" else "collate_samples"}
    sections["val_dataloader"] = loader
    train = {**loader, "dataset": dataset_of(root, "train"), "sampler": {"type": "KeyedSampler", "shuffle": True}}
    sections["train_dataloader"] = train
    if task == "pretraining":
        bank = {**loader, "dataset": folder(root, "train")}
        sections["val_cfg"] = {"type": "PretrainValLoop", "bank_dataloader": bank}
    config = f"configs/{config}.py"
    runner = make_runner(repository, tmp_path / "run", config=config, options=options, sections=sections)
    if damage:
        cut(runner.val_loop.dataloader.dataset.files.path(BROKEN))
    return runner


def cut(path):
    path = Path(path)
    path.write_bytes(path.read_bytes()[:100])


def log_of(folder):
    return "".join(path.read_text() for path in sorted(folder.glob("*/*.log")))


@pytest.mark.parametrize("task", TASKS)
def test_it_is_named_once_and_left_out(repository, tmp_path, task):
    runner = build(repository, tmp_path, task)
    metrics = runner.val()
    runner.val()
    log = log_of(tmp_path / "run")
    assert log.count("Broken file passed over: ") == 1
    assert f"{BROKEN:02}.png" in log.split("Broken file passed over: ")[1].split("\n")[0]
    assert log.count("Validation: 19 of 20 images, without 1 with a broken file.") == 2
    if task != "detection":
        assert (metrics["images"], metrics["results"], metrics["broken"]) == (19, 19, 0.0)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_too_many_end_it(repository, tmp_path, task):
    runner = build(repository, tmp_path, task, max_broken=0.0)
    with pytest.raises(UsageError, match=r"1 of 20 samples met a broken file .* more than max_broken=0 allows"):
        runner.val()


def test_the_loss_is_that_of_the_others(repository, tmp_path):
    """The loss of 19 images is the mean of theirs: as if the file that is broken were not there."""
    broken = build(repository, tmp_path / "broken", "pretraining").val()["loss"]
    runner = build(repository, tmp_path / "good", "pretraining", damage=False)
    losses = []
    model = runner.bare_model.eval()
    with torch.no_grad():
        for data in runner.val_dataloader:
            batch = model.data_preprocessor(data)
            for i, index in enumerate(data["index"].tolist()):
                one = {"images": batch["images"][i : i + 1]}
                samples = {name: value[i : i + 1] for name, value in batch["data_samples"].items()}
                losses += [model(**one, data_samples=samples, mode="loss")["loss"].item()] * (index != BROKEN)
    assert len(losses) == IMAGES - 1
    assert broken == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_neighbours_of_knn_count_too(repository, tmp_path):
    runner = build(repository, tmp_path, "pretraining", damage=False)
    runner.val()
    cut(tmp_path / f"data/train/b/{BROKEN:02}.png")
    runner.val()
    assert "Neighbours of kNN: 19 of 20 images, without 1 with a broken file." in log_of(tmp_path / "run")


def test_a_loop_of_mmengine_names_it(repository, tmp_path):
    runner = build(repository, tmp_path, "pretraining")
    runner._val_loop = {"type": "mmengine.ValLoop"}
    metrics = runner.val()
    assert metrics["images"] == IMAGES  # its metrics see the image that takes the place
    assert "1 of 20 samples met a broken file and took the next one" in log_of(tmp_path / "run")
