"""Models state their task, and are laid out, predicted with and described by it, whatever their names and arguments."""

import json

import numpy as np
import pytest
import torch
from mmengine import ConfigDict
from mmengine.model import BaseModel
from PIL import Image
from torch import nn
from torch.nn import functional

from maetool.config.complete import complete_config
from maetool.config.earlier import as_trained
from maetool.config.facts import TASKS, has_classes, task_of
from maetool.config.load import load_config
from maetool.config.user_data import adopt_classes, point_at, use_data
from maetool.data.drawn.layouts import write_shapes
from maetool.errors import UsageError
from maetool.models import ImageClassifier, ImageRegressor, MaskedImageModel, ObjectDetector, Segmentor, TrainableModel
from maetool.pretrained.predict import PREDICTORS, load_trained, predict
from maetool.registry import MODELS
from maetool.weights.write import write_checkpoint


class SubClassifier(ImageClassifier):
    """Inherits its task."""


class SubSegmentor(Segmentor):
    """Inherits its task."""


class SubDetector(ObjectDetector):
    """Inherits its task."""


class PlainClassifier(BaseModel):
    """Somebody else's classifier, which is made of no part of maetool, with the least that predictions need."""

    task = "classification"
    image_shape = (3, 8, 12)

    def __init__(self, num_classes, data_preprocessor=None):
        super().__init__(MODELS.build(data_preprocessor))
        self.num_classes, self.head = num_classes, nn.Linear(3 * 8 * 12, num_classes)

    def forward(self, images, data_samples=None, mode="loss"):
        logits = self.head(images.flatten(1))
        return logits if mode == "predict" else {"loss": functional.cross_entropy(logits, data_samples["label"])}


class PlainSegmentor(PlainClassifier):
    """Gives logits of pixels."""

    task = "segmentation"

    def __init__(self, num_classes, data_preprocessor=None):
        super().__init__(num_classes, data_preprocessor)
        self.head = nn.Conv2d(3, num_classes, 1)

    def forward(self, images, data_samples=None, mode="loss"):
        return self.head(images)


class NamesModel(TrainableModel):
    """Pretrains, and has arguments with the names of those of a segmentor, a classifier and a detector."""

    task = "pretraining"

    def __init__(self, encoder, decode_head=3, num_classes="many", with_masks=True, data_preprocessor=None):
        super().__init__(MODELS.build(data_preprocessor))


class TasklessModel(BaseModel):
    """States no task."""

    def __init__(self, encoder=None, data_preprocessor=None):
        super().__init__()


class DepthModel(TasklessModel):
    """Has a task of its own."""

    task = "depth"


OTHERS = (SubClassifier, SubSegmentor, SubDetector, PlainClassifier, PlainSegmentor, NamesModel, TasklessModel)
OTHERS = (*OTHERS, DepthModel)


@pytest.fixture(autouse=True)
def registered():
    for cls in OTHERS:
        MODELS.register_module(module=cls)
    yield
    for cls in OTHERS:
        MODELS.module_dict.pop(cls.__name__)


FINETUNE, SEGMENTATION = "configs/finetune/vit-t_shapes.py", "configs/segmentation/linear_vit-t_shapes.py"
DETECTION, PRETRAINING = "configs/detection/vitdet_mask-rcnn_vit-t_shapes.py", "configs/mae/vit-t_shapes.py"


def saved(cfg, path, classes=None):
    """Write a checkpoint of the model of a config with random weights."""
    complete_config(cfg)
    torch.manual_seed(0)
    state = {"state_dict": MODELS.build(cfg.model).state_dict()}
    write_checkpoint({**state, "meta": {"dataset_meta": {"classes": classes}} if classes else {}}, path)
    return str(path)


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(np.arange(30 * 50 * 3, dtype=np.uint8).reshape(30, 50, 3)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


MODELS_OF_TASKS = (MaskedImageModel, ImageClassifier, ImageRegressor, Segmentor, ObjectDetector)


def test_every_model_states_a_task():
    tasks = {cls: task_of(cls) for cls in MODELS_OF_TASKS}
    assert sorted(tasks.values()) == sorted(TASKS)
    assert set(PREDICTORS) == set(TASKS) - {"pretraining"}
    assert task_of(TrainableModel) is task_of(BaseModel) is task_of(TasklessModel) is None
    assert task_of(SubSegmentor) == "segmentation"


@pytest.mark.parametrize(
    ("config", "name"), [(FINETUNE, "SubClassifier"), (SEGMENTATION, "SubSegmentor"), (DETECTION, "SubDetector")]
)
def test_a_subclass_predicts_as_its_base(repository, picture, tmp_path, config, name):
    cfg = load_config(repository / config)
    checkpoint = saved(cfg, tmp_path / "model.pth")
    expected = predict(load_trained(load_config(repository / config), checkpoint), picture)
    cfg = load_config(repository / config)
    cfg.model.type = name
    trained = load_trained(cfg, checkpoint)
    assert type(trained.model).__name__ == name
    found = predict(trained, picture)
    assert found.record == expected.record and np.array_equal(found.picture, expected.picture)


def plain(repository, name):
    cfg = load_config(repository / PRETRAINING)
    cfg.model = {"type": name, "num_classes": 3, "data_preprocessor": {"type": "ImagePreprocessor"}}
    cfg.val_dataloader.dataset.img_size = (8, 12)
    return cfg


def test_a_classifier_of_others_predicts(repository, picture, tmp_path):
    checkpoint = saved(plain(repository, "PlainClassifier"), tmp_path / "model.pth", ("a", "b", "c"))
    trained = load_trained(plain(repository, "PlainClassifier"), checkpoint)
    assert trained.classes == ["a", "b", "c"]
    rows = predict(trained, picture).record["classes"]
    assert {row["class"] for row in rows} == {"a", "b", "c"}
    assert sum(row["probability"] for row in rows) == pytest.approx(1, abs=1e-3)


def test_a_segmentor_of_others_predicts(repository, picture, tmp_path):
    checkpoint = saved(plain(repository, "PlainSegmentor"), tmp_path / "model.pth")
    found = predict(load_trained(plain(repository, "PlainSegmentor"), checkpoint), picture)
    json.dumps(found.record)
    assert found.maps["classes"].shape == (30, 50)
    assert {row["class"] for row in found.record["classes"]} <= {"class 0", "class 1", "class 2"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("TasklessModel", r"TasklessModel has no `task`: add `task = ...` to the class, one of classifi"),
        ("DepthModel", r"DepthModel makes no predictions, because its task is depth: use a config of a"),
        ("NamesModel", r"NamesModel makes no predictions, because its task is pretraining"),
        ("NoSuchModel", r"There is no model called `NoSuchModel`"),
    ],
)
def test_what_nothing_is_predicted_with(repository, name, sentence):
    cfg = load_config(repository / PRETRAINING)
    cfg.model = {"type": name}
    with pytest.raises(UsageError, match=sentence):
        load_trained(cfg, "unused.pth")


@pytest.mark.parametrize(
    ("attribute", "sentence"),
    [
        (
            "image_shape",
            r"PlainClassifier does not define the size of its images: add the attribute `image_shape`",
        ),
        ("num_classes", r"PlainClassifier has no num_classes, which predictions need"),
    ],
)
def test_what_predictions_need_of_a_model(repository, tmp_path, monkeypatch, attribute, sentence):
    checkpoint = saved(plain(repository, "PlainClassifier"), tmp_path / "model.pth")
    monkeypatch.setattr(PlainClassifier, attribute, None, raising=False)
    if attribute == "num_classes":
        monkeypatch.setattr(PlainClassifier, "__setattr__", lambda *a: a[1] == attribute or BaseModel.__setattr__(*a))
    with pytest.raises(UsageError, match=sentence):
        load_trained(plain(repository, "PlainClassifier"), checkpoint)


def test_data_is_laid_out_by_the_task(repository, tmp_path):
    write_shapes(tmp_path / "pixels", "ade20k", 4, 4, 32)
    cfg = plain(repository, "PlainSegmentor")
    use_data(cfg, str(tmp_path / "pixels"))
    assert cfg.train_dataloader.dataset.type == "SegmentationDataset" and cfg.model.num_classes == 8
    for part, kind in (("train", "a"), ("train", "b"), ("val", "a"), ("val", "b")):
        (tmp_path / "classes" / part / kind).mkdir(parents=True)
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "classes" / part / kind / "0.png")
    cfg = plain(repository, "PlainClassifier")
    use_data(cfg, str(tmp_path / "classes"))
    assert cfg.train_dataloader.dataset.with_labels and cfg.model.num_classes == 2
    cfg = load_config(repository / PRETRAINING)
    cfg.model = {"type": "NamesModel", "encoder": cfg.model.encoder, "with_masks": True}
    use_data(cfg, str(tmp_path / "classes"))
    assert not cfg.train_dataloader.dataset.with_labels and "num_classes" not in cfg.model


def test_a_model_without_arguments_of_classes_keeps_its_own(repository, tmp_path, monkeypatch):
    """Its constructor takes no num_classes, which `--data` then does not write into the config."""
    write_shapes(tmp_path, "ade20k", 4, 4, 32)
    monkeypatch.setattr(TasklessModel, "task", "segmentation", raising=False)
    cfg = load_config(repository / PRETRAINING)
    cfg.model = {"type": "TasklessModel"}
    use_data(cfg, str(tmp_path))
    assert cfg.train_dataloader.dataset.type == "SegmentationDataset" and "num_classes" not in cfg.model


@pytest.mark.parametrize(
    ("name", "states"), [("TasklessModel", "has no `task`"), ("DepthModel", "is for the task depth")]
)
def test_data_for_a_model_of_no_known_task(repository, tmp_path, name, states):
    cfg = load_config(repository / PRETRAINING)
    cfg.model = {"type": name}
    with pytest.raises(UsageError, match=f"--data depends on the task of the model, but {name} {states}: add `task"):
        point_at(cfg, str(tmp_path))
    adopt_classes(cfg)
    assert cfg.model == {"type": name}


def test_masks_are_a_fact_of_detectors_alone(repository):
    cfg = load_config(repository / DETECTION)
    cfg.model.with_masks = False
    complete_config(cfg)
    assert cfg.train_dataloader.dataset.with_masks is False
    cfg = load_config(repository / DETECTION)
    cfg.model = {"type": "NamesModel", "encoder": cfg.model.encoder, "with_masks": False}
    complete_config(cfg)
    assert "with_masks" not in cfg.train_dataloader.dataset


def test_what_tells_classes_apart():
    """A model that states its task is believed; of one of 0.1.0, which knew none, its `num_classes` decides."""
    model = nn.Module()
    assert not has_classes(model)
    model.num_classes = 3
    assert has_classes(model)
    model.task = "pretraining"
    assert not has_classes(model)
    model.task = "detection"
    assert has_classes(model)


@pytest.mark.parametrize(
    ("name", "fused"), [("SubClassifier", True), ("NamesModel", False), ("MaskedImageModel", False)]
)
def test_earlier_encoders_by_the_task(name, fused):
    section = ConfigDict(type=name, encoder={"type": "HybridTransformer"})
    trained = as_trained(section, {"versions": {"maetool": "0.1.0"}})
    assert trained.encoder.get("fuse") == ("always" if fused else None)
