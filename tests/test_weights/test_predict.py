"""Options and files of `maetool predict` that a model does not take."""

import os
import sys

import cv2
import numpy as np
import pytest
import torch

from maetool.commands import predict
from maetool.data.transforms import ResizeCenterCrop
from maetool.errors import UsageError
from maetool.pretrained import predict as prediction
from maetool.pretrained.predict_files import name_of_picture
from maetool.pretrained.predictors import Trained
from maetool.pretrained.reading import read_for
from maetool.registry import MODELS

TINY = {"type": "VisionTransformer", "img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 1, "num_heads": 2}


def a_model(statistics):
    preprocessor = {"type": "ImagePreprocessor", **statistics}
    section = {"type": "ImageClassifier", "num_classes": 2, "encoder": TINY, "data_preprocessor": preprocessor}
    return MODELS.build(section).eval()


@pytest.fixture(scope="module")
def model():
    return a_model({"mean": [120, 110, 100], "std": [60, 60, 60]})


@pytest.fixture
def command(model, monkeypatch):
    """Run the command in this process with a model of random weights."""
    trained = Trained(model, ["a", "b"], [], np.zeros((2, 3), np.uint8))
    monkeypatch.setattr("maetool.pretrained.predict.load_trained", lambda cfg, checkpoint: trained)
    monkeypatch.setattr("maetool.config.load.load_config", lambda *arguments: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["predict", "CONFIG", "CHECKPOINT", *map(str, arguments), "--workers", "0"])
        predict.main()

    return run


def test_a_threshold_is_for_detectors(command, tmp_path):
    with pytest.raises(UsageError, match="--threshold is for detectors, but this is a model for classification"):
        command(tmp_path, "--threshold", "0.9")


def test_of_several_labels_each_has_its_probability(tmp_path):
    """No label is left out, however many there are, and none that is unlikely stands there as the prediction."""
    section = {"type": "ImageClassifier", "num_classes": 12, "multi_label": True, "encoder": TINY}
    section["data_preprocessor"] = {"type": "ImagePreprocessor"}
    torch.manual_seed(0)
    names = [f"finding {i}" for i in range(12)]
    trained = Trained(MODELS.build(section).eval(), names, [], np.zeros((12, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20, 3), 90, np.uint8))
    found = prediction.predict(trained, tmp_path / "a.png")
    assert list(found.record["probabilities"]) == names
    image = read_for(trained.model, tmp_path / "a.png")
    batch = trained.model.data_preprocessor({"inputs": ResizeCenterCrop(16)(image)[None]})["images"]
    expected = trained.model(batch, mode="predict").sigmoid()[0].tolist()
    assert list(found.record["probabilities"].values()) == pytest.approx(expected, abs=1e-4)
    header, row = prediction.table_of([found.record])
    assert header == ["path", *names] and row[0] == str(tmp_path / "a.png") and len(row) == 13
    line = prediction.line_of(found.record)
    assert line.startswith(f"{tmp_path}/a.png  finding 0 0.") and line.endswith("  and 4 more")


@pytest.mark.parametrize("stem", ["x" * 250, "\u00e9" * 124])
def test_a_picture_of_a_file_with_a_long_name_is_written(command, tmp_path, stem):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20, 3), 90, np.uint8))
    (tmp_path / "a.png").rename(tmp_path / f"{stem}.png")
    command(tmp_path, "--out", tmp_path / "out")
    (name,) = (path.name for path in (tmp_path / "out").glob("*.png"))
    assert name == f"{name_of_picture(0, stem)}.png" and name.startswith(f"000_{stem[:90]}")
    assert len(os.fsencode(name)) < 230


def test_an_image_of_another_unit_is_refused(model, tmp_path):
    """A training that sees it among others refuses it, too."""
    image = np.full((20, 20, 3), 110, np.uint8)
    cv2.imwrite(str(tmp_path / "eight.png"), image)
    cv2.imwrite(str(tmp_path / "sixteen.png"), image.astype(np.uint16) * 257)
    expected = read_for(model, tmp_path / "eight.png")
    with pytest.raises(UsageError, match=r"sixteen.png has a mean of 28270 in the values as stored, but the training"):
        read_for(model, tmp_path / "sixteen.png")
    assert (read_for(model, tmp_path / "sixteen.png", reading={"eight_bit": True}) == expected).all()
    nothing = {"mean": [0, 0, 0], "std": [1, 1, 1]}  # says nothing of the images
    assert read_for(a_model(nothing), tmp_path / "sixteen.png").max() == 28270


def test_an_image_of_8_bits_is_refused_after_16_bits_or_shares(tmp_path):
    """None can have such statistics; those of dark or bright images of 8 bits are taken."""
    for value in (2, 110, 255):
        cv2.imwrite(str(tmp_path / "eight.png"), np.full((20, 20, 3), value, np.uint8))
        for mean, std in ((20_000, 9000), (300, 20), (200, 150), (0.04, 0.05)):
            with pytest.raises(UsageError, match=f"eight.png has a mean of {value} in 8 bits, but the training"):
                read_for(a_model({"mean": [mean] * 3, "std": [std] * 3}), tmp_path / "eight.png")
        for mean, std in ((4, 3), (250, 4), (127, 127.5)):
            assert read_for(a_model({"mean": [mean] * 3, "std": [std] * 3}), tmp_path / "eight.png").max() == value
