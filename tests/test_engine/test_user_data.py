"""What a config is pointed at, for every form of a user's data."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from people_data import Data
from PIL import Image
from test_classification import make_config

from maetool.config.debug import shrink
from maetool.config.load import load_config, load_for
from maetool.config.overlap import tell_of_overlap
from maetool.config.user_data import use_data
from maetool.engine.launch import build_runner
from maetool.errors import UsageError
from maetool.registry import DATASETS
from maetool.visualization.curves import read_logs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for part, classes in (("train", "abc"), ("val", "ac"), ("all", "ab")):
        for name in classes:
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(10):
                Image.fromarray(np.full((20, 20, 3), i, np.uint8)).save(tmp_path / part / name / f"{i}.png")
    lines = [f"all/{name}/{i}.png" for name in "ab" for i in range(10)]
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(f"{line},{line[4]}\n" for line in lines))
    several = "path,x,y,z\n" + "".join(f"{line},{i % 2},1,{i % 3 // 2}\n" for i, line in enumerate(lines))
    for name in ("train.csv", "val.csv"):
        (tmp_path / "all" / name).write_text(several.replace("all/", ""))
    (tmp_path / "split").mkdir()
    for part in ("train", "val"):
        (tmp_path / "split" / part).symlink_to(tmp_path / part)
    return tmp_path


def datasets(cfg):
    return [
        DATASETS.build({**dataset, "pipeline": []})
        for dataset in (cfg.train_dataloader.dataset, cfg.val_dataloader.dataset)
    ]


def classifier(repository, data, **arguments):
    cfg = make_config(repository)
    cfg.train_dataloader.dataset.labels_fraction = 0.5
    use_data(cfg, str(data), **arguments)
    return cfg


def test_a_folder_in_two_parts(repository, folder):
    cfg = classifier(repository, folder / "split")
    train, val = datasets(cfg)
    assert (len(train), len(val)) == (15, 20)
    assert (train.classes, val.classes) == (["a", "b", "c"], ["a", "c"])
    assert (cfg.model.num_classes, cfg.model.multi_label) == (3, False)
    assert cfg.train_dataloader.dataset.pipeline[0].type == "RandomResizedCrop"


@pytest.mark.parametrize("name", ["all", "labels.csv"])
def test_one_folder_or_table_is_split(repository, folder, name):
    for table in (folder / "all").glob("*.csv"):
        table.unlink()
    cfg = classifier(repository, folder / name)
    train, val = datasets(cfg)
    assert (len(train), len(val)) == (8, 4)
    assert not {train.name_of(i) for i in range(8)} & {val.name_of(i) for i in range(4)}
    assert cfg.model.num_classes == 2


def test_two_tables(repository, folder):
    cfg = classifier(repository, folder / "all")
    assert [data.labels.shape[1] for data in datasets(cfg)] == [3, 3]
    assert (cfg.model.num_classes, cfg.model.multi_label) == (3, True)


def test_a_folder_with_one_table(repository, folder):
    (folder / "all" / "val.csv").unlink()
    train, val = datasets(classifier(repository, folder / "all"))
    assert 3 <= len(val) <= 5 and train.labels.shape[1] == 3
    assert not {train.name_of(i) for i in range(len(train))} & {val.name_of(i) for i in range(len(val))}


def test_a_trained_model_keeps_its_classes(repository, folder):
    assert classifier(repository, folder / "split", adopt=False).model.num_classes == 8


@pytest.mark.parametrize(
    "config",
    [
        *("segmentation/linear_vit-t_shapes", "segmentation/linear_vit-b_ade20k_40k"),
        *("detection/vitdet_mask-rcnn_vit-t_shapes", "finetune/regression_vit-t_shapes", "finetune/vit-t_shapes"),
    ],
)
def test_data_that_are_not_there(repository, tmp_path, config):
    cfg = load_config(repository / f"configs/{config}.py")
    with pytest.raises(UsageError, match=r"There is no data at .*nowhere"):
        use_data(cfg, str(tmp_path / "nowhere"))


def test_images_without_classes_for_a_classifier(repository, folder):
    with pytest.raises(UsageError, match="has no class: labels are read from the folders, "):
        classifier(repository, folder / "all" / "a")


@pytest.mark.parametrize(("name", "lengths", "labelled"), [("split", (30, 20), True), ("all/a", (10, 10), False)])
def test_pretraining(repository, folder, name, lengths, labelled):
    cfg = load_config(repository / "configs/mae/vit-b_800e.py")
    use_data(cfg, str(folder / name))
    train, val = datasets(cfg)
    assert (len(train), len(val)) == lengths
    assert not train.classes
    assert bool(val.classes) == labelled
    assert ("bank_dataloader" in cfg.val_cfg) == labelled
    if labelled:
        assert cfg.val_cfg.bank_dataloader.dataset.with_labels
        assert cfg.val_cfg.bank_dataloader.dataset.limit == 50000


@pytest.mark.parametrize(("name", "labelled"), [("split", True), ("all/a", False)])
def test_evaluators_learn_from_the_training_images_and_keep_their_own(repository, folder, name, labelled):
    cfg = load_config(repository / "configs/mae/vit-b_800e.py")
    own = {"type": "LossEvaluator", "dataloader": deepcopy(cfg.val_dataloader.to_dict())}
    own["dataloader"]["dataset"]["root"] = "data/other/val"
    cfg.val_cfg.evaluators = {
        "loss": own,
        "knn": {"type": "KnnEvaluator", "bank": deepcopy(cfg.val_cfg.bank_dataloader)},
    }
    use_data(cfg, str(folder / name))
    bank = cfg.val_cfg.evaluators.knn.get("bank")
    assert (bank.dataset.root if bank else None) == (str(folder / name / "train") if labelled else None)
    assert cfg.val_cfg.evaluators.loss.dataloader.dataset.root == "data/other/val"


def test_pretraining_on_a_table(repository, folder):
    cfg = load_config(repository / "configs/mae/vit-b_800e.py")
    use_data(cfg, str(folder / "labels.csv"))
    assert [len(data) for data in datasets(cfg)] == [16, 4]
    assert cfg.val_cfg.bank_dataloader.dataset.part == "train"


@pytest.mark.parametrize(("name", "measured"), [("labels.csv", True), ("all", False)])
def test_neighbours_of_tables(repository, folder, tmp_path, name, measured):
    """Of one label for each image the accuracy is told; of several there is none."""
    cfg = load_config(repository / "configs/mae/vit-t_shapes.py", ["model.encoder.img_size=16"])
    use_data(cfg, str(folder / name))
    cfg.work_dir = str(tmp_path / "work")
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.val_cfg.bank_dataloader):
        loader.batch_size = 4
    assert ("knn" in build_runner(cfg).val()) == measured


def test_a_classifier_of_several_labels(repository, folder, tmp_path):
    cfg = load_config(repository / "configs/finetune/vit-t_shapes.py", ["model.encoder.patch_size=8"])
    use_data(cfg, str(folder / "all"))
    shrink(cfg)
    cfg.work_dir = str(tmp_path / "work")
    runner = build_runner(cfg)
    runner.train()
    logs = read_logs(tmp_path / "work")
    assert 0 < logs["val/mean_average_precision"][4] <= 100
    assert "val/top1" not in logs
    found = runner.val_loop.report(tmp_path / "report")
    assert list(found["classes"]) == ["x", "y", "z"]
    assert found["classes"]["y"]["average_precision"] is None  # which every image has
    text = next((tmp_path / "work").glob("*/*.log")).read_text()
    assert "labels an image: y 8 (100.0%)" in text


def test_a_finding_that_no_image_has_is_told(repository, folder, tmp_path):
    lines = [f"a/{i}.png,{i % 2},0" for i in range(10)]
    (folder / "all" / "train.csv").write_text("\n".join(["path,x,never", *lines]) + "\n")
    cfg = load_config(repository / "configs/finetune/vit-t_shapes.py", ["model.encoder.patch_size=8"])
    use_data(cfg, str(folder / "all" / "train.csv"))
    shrink(cfg)
    cfg.work_dir = str(tmp_path / "work")
    runner = build_runner(cfg)
    runner.train()
    log = next(Path(runner.log_dir).glob("*.log")).read_text()
    assert "1 of them no image has, so they cannot be learned (first `never`)." in log


@pytest.mark.parametrize(
    ("kind", "argument", "sentence"),
    [
        ("ShapesDataset", "num_sampels", r"ShapesDataset has no argument `num_sampels` \(did you mean `num_samples`"),
        ("ImageFolderDataset", "max_brokn", "ImageFolderDataset has no argument `max_brokn`"),
        (
            "ImageFolderDataset",
            "index_cache",
            "sets index_cache=.x. for its dataset, but --data gives a CsvDataset that has no index_cache",
        ),
    ],
)
def test_arguments_of_a_replaced_dataset_are_kept_or_refused(repository, folder, kind, argument, sentence):
    cfg = make_config(repository)
    cfg.train_dataloader.dataset = {"type": kind, **({"root": "r"} if "root" in kind else {}), argument: "x"}
    with pytest.raises(UsageError, match=sentence):
        use_data(cfg, str(folder / "labels.csv"))


@pytest.mark.parametrize("option", ["zero_is_ignored=False", "ignore_index=7", "image_suffix=.tif"])
def test_what_is_true_of_the_files_is_true_of_all_parts(repository, folder, option):
    name, _, text = option.partition("=")
    path = repository / "configs/segmentation/linear_vit-t_shapes.py"
    cfg, _ = load_for(path, [f"train_dataloader.dataset.{option}"], str(folder))
    assert str(cfg.train_dataloader.dataset[name]) == str(cfg.val_dataloader.dataset[name]) == text
    own = f"val_dataloader.dataset.{name}={0 if name == 'ignore_index' else True}"
    cfg, _ = load_for(path, [f"train_dataloader.dataset.{option}", own], str(folder))
    assert str(cfg.val_dataloader.dataset[name]) == own.partition("=")[2]


@pytest.mark.parametrize("config", ["linear_vit-t_shapes", "linear_vit-b_ade20k_40k"])  # which draws, and which reads
@pytest.mark.parametrize(
    ("train", "val"),
    [
        (("train/images", "train/masks"), ("val/images", "val/masks")),
        (("pictures/train", "labels/train"), ("pictures/dev", "labels/dev")),
        (("images/training", "annotations/training"), ("images/validation", "annotations/validation")),
    ],
)
def test_masks_are_found_beside_images(repository, tmp_path, config, train, val):
    data = Data(tmp_path)
    for images, masks in (train, val):
        data.masks(images, masks, *[[0, 1]] * 3, image_ending=".png", ending=".tif")
    cfg, _ = load_for(repository / f"configs/segmentation/{config}.py", [], str(tmp_path))
    for dataset, folders in ((cfg.train_dataloader.dataset, train), (cfg.val_dataloader.dataset, val)):
        assert (dataset.root, dataset.images, dataset.annotations) == (str(tmp_path), *folders)
        if folders[0] not in ("images/training", "images/validation"):  # those of the config, which says the rest
            assert (dataset.image_suffix, dataset.annotation_suffix) == (".png", ".tif")


def test_a_config_that_trains_nothing_takes_data(repository, folder):
    cfg, _ = load_for(repository / "configs/knn/vit-t_shapes.py", [], str(folder / "split"))
    assert cfg.model.num_classes == 2 and str(cfg.val_cfg.bank_dataloader.dataset.root).endswith("train")


@pytest.mark.parametrize(
    ("config", "data", "seen"),
    [
        ("mae/vit-t_shapes", "all/a", True),  # no part for validation
        ("mae/vit-t_shapes", "train", True),
        ("mae/vit-t_shapes", "all", False),  # its tables name two parts
        ("mae/vit-t_shapes", "split", False),
        ("mae/vit-t_shapes", "labels.csv", False),  # a fifth is held out
        ("finetune/vit-t_shapes", "all", False),
        ("finetune/vit-t_shapes", None, False),  # drawn
        ("mae/vit-b_800e", None, False),
    ],
)
def test_validation_on_training_images_is_said(repository, folder, config, data, seen):
    cfg, _ = load_for(repository / f"configs/{config}.py", data=data and str(folder / data))
    assert (tell_of_overlap(cfg) is not None) == seen
