"""Trained models read images as their training did: turned by EXIF, in eight bits, with gaps."""

import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from mmengine import Config
from PIL import Image

from maetool.config.load import complete_config, load_config
from maetool.errors import UsageError
from maetool.metadata.stored_config import stored_facts
from maetool.pretrained.extract import build_whole
from maetool.pretrained.frozen import load_frozen
from maetool.pretrained.predict import load_trained, predict
from maetool.pretrained.reading import read_as_trained, read_for, reading_in, reading_of
from maetool.registry import MODELS
from maetool.weights.write import write_checkpoint

CONFIG = "configs/finetune/vit-t_shapes.py"
SMALL = [
    "model.encoder.depth=1",
    "model.encoder.embed_dim=32",
    "model.encoder.num_heads=2",
    "model.encoder.patch_size=8",
]
READ = {"exif": True, "eight_bit": True, "nodata": -9999.0}


@pytest.fixture(scope="module")
def checkpoint(repository, tmp_path_factory):
    """Return a classifier's checkpoint whose training turned its photographs."""
    cfg = load_config(repository / CONFIG, SMALL)
    complete_config(cfg)
    cfg.train_dataloader.dataset = {"type": "ImageFolderDataset", "root": "images", "exif": True}
    path = tmp_path_factory.mktemp("classifier") / "x.pth"
    torch.manual_seed(0)
    write_checkpoint({"meta": stored_facts(cfg), "state_dict": MODELS.build(cfg.model).state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder of pictures: as seen, and stored on their side with EXIF that turns them."""
    root = tmp_path_factory.mktemp("photos")
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, kinds in (("a", "ab"), ("b", "ab")):
        seen = np.zeros((40, 60, 3), np.uint8)
        seen[:10, : 20 if name == "a" else 40] = (250, 120, 10)
        for folder in kinds:
            (root / "seen" / folder).mkdir(parents=True, exist_ok=True)
            (root / "stored" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(seen).save(root / "seen" / folder / f"{name}.png")
            stored = Image.fromarray(np.ascontiguousarray(np.rot90(seen)))
            stored.save(root / "stored" / folder / f"{name}.png", exif=exif)
    return root


def dataset(**options):
    return {"type": "ImageFolderDataset", "root": "x", **options}


def meta_of(trained):
    return stored_facts(Config({"train_dataloader": {"dataset": trained}}))


@pytest.mark.parametrize(
    "trained",
    [
        dataset(**READ),
        {"type": "RepeatDataset", "times": 2, "dataset": dataset(**READ)},
        {"type": "ConcatDataset", "datasets": [dataset(), dataset(**READ)]},
    ],
)
def test_what_a_training_read(trained):
    assert reading_in(meta_of(trained)) == READ


@pytest.mark.parametrize("options", [{}, {"exif": False}, {"exif": "yes"}, {"nodata": [1]}, {"nodata": None}])
def test_defaults_and_nonsense_are_left_out(options):
    assert reading_in(meta_of(dataset(**options))) == {}
    assert reading_in(None) == reading_in({}) == {}


def test_a_prediction_turns_the_picture_as_the_training_did(repository, checkpoint, photos):
    path = photos / "stored" / "a" / "a.png"
    trained = load_trained(load_config(repository / CONFIG, SMALL), checkpoint)
    found, seen = predict(trained, path), predict(trained, photos / "seen" / "a" / "a.png")
    assert found.record["classes"] == seen.record["classes"]
    assert np.array_equal(found.picture, seen.picture)
    cfg = load_config(repository / CONFIG, SMALL)
    cfg.val_dataloader.dataset = dataset(exif=False, pipeline=[{"type": "ResizeCenterCrop", "size": 32}])
    other = predict(load_trained(cfg, checkpoint), path)
    assert other.picture.shape != found.picture.shape


def test_features_are_those_of_turned_pictures(checkpoint, photos):
    model = load_frozen(checkpoint)

    def images(folder, exif=None):
        reading = reading_of(checkpoint, exif)
        data = build_whole(model, str(photos / folder), reading=reading)
        return torch.stack([data[i]["inputs"] for i in range(len(data))])

    assert torch.equal(images("stored"), images("seen"))
    assert not torch.equal(images("stored", False), images("seen"))


@pytest.mark.parametrize("command", ["extract_features", "quick_eval"])
def test_commands_take_the_option(monkeypatch, command):
    monkeypatch.setattr(sys, "argv", [command, "x.pth", "--data", "d", *(["--out", "f.npz"] * (command[0] == "e"))])
    parse = import_module(f"maetool.commands.{command}").parse_args
    assert parse().exif is None
    sys.argv.append("--no-exif")
    assert parse().exif is False


def test_the_datasets_of_a_config_read_as_the_training_did(repository, checkpoint, caplog, monkeypatch):
    monkeypatch.setattr("maetool.pretrained.reading.print_log", lambda text, **_: caplog.records.append(text))
    cfg = load_config(repository / CONFIG)
    read_as_trained(cfg, checkpoint)
    assert "exif" not in cfg.val_dataloader.dataset  # drawn, so nothing is read
    cfg.val_dataloader.dataset = dataset()
    cfg.train_dataloader.dataset = dataset(exif=False)
    read_as_trained(cfg, checkpoint)
    assert cfg.val_dataloader.dataset.exif is True and cfg.train_dataloader.dataset.exif is False
    assert sorted(caplog.records) == [
        "train_dataloader: dataset.exif is False, but the checkpoint was trained with True: its model sees other "
        "images than it learned from.",
        "val_dataloader: dataset.exif=True, as the checkpoint was trained.",
    ]
    read_as_trained(cfg, None)


def test_gaps_are_filled_as_in_training(tmp_path):
    model = MODELS.build(
        {"type": "ImageClassifier", "num_classes": 2, "encoder": {"type": "VisionTransformer", **TINY}}
    )
    values = np.full((16, 16, 2), 5.0, np.float32)
    values[:4] = -9999
    np.save(tmp_path / "x.npy", values)
    assert read_for(model, tmp_path / "x.npy", reading={"nodata": -9999}).unique().tolist() == [5]
    assert read_for(model, tmp_path / "x.npy").min() == -9999
    values[:4] = np.nan
    np.save(tmp_path / "x.npy", values)
    assert read_for(model, tmp_path / "x.npy", reading={"nodata": "auto"}).unique().tolist() == [5]
    with pytest.raises(UsageError, match="The image cannot be read"):
        read_for(model, tmp_path / "x.npy")


TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 1, "num_heads": 2, "in_chans": 2}
