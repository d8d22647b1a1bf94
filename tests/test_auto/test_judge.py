"""Judging without labels, and the text of a finished training."""

import pytest
import torch

from maetool.auto.data import look
from maetool.auto.judge import Judge
from maetool.auto.worth import next_commands, worth_of
from maetool.errors import UsageError
from maetool.pretrained.frozen import build_frozen
from maetool.weights.write import write_checkpoint

ENCODER = {"type": "VisionTransformer", "img_size": 8, "patch_size": 2, "embed_dim": 16, "depth": 1, "num_heads": 2}
SECTION = {
    "encoder": {**ENCODER, "in_chans": 1},
    "data_preprocessor": {"type": "ImagePreprocessor", "mean": [90.0], "std": [60.0]},
}


@pytest.fixture
def place(folder):
    return {"type": "ImageFolderDataset", "root": str(folder / "train")}


def test_a_random_encoder_finds_crops_again_and_a_collapsed_one_is_told(place):
    torch.manual_seed(0)
    model = build_frozen(SECTION)
    good = Judge(place, None)(model, 0.5)
    assert good.stability > 3 * 100 / 60  # by chance one of 60
    assert good.score == good.stability
    assert good.failed == ""
    model.encoder.norm.weight.data.zero_()
    assert "collapsed" in Judge(place, None)(model, 0.5).failed


def test_a_loss_of_a_constant_has_learned_nothing(place):
    model = build_frozen(SECTION)
    assert "learned nothing" in Judge(place, None)(model, 1.0).failed
    assert "learned nothing" in Judge(place, None)(model, float("nan")).failed


def test_the_same_images_are_compared_every_time(place):
    model = build_frozen(SECTION)
    assert Judge(place, None)(model, 0.5) == Judge(place, None)(model, 0.5)


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_what_cannot_be_judged_by_labels_is_told_and_names_the_next_training(folder, tmp_path, task):
    torch.manual_seed(0)
    meta = {"cfg": f"model = {dict(type='MaskedImageModel', **SECTION)!r}"}
    weights = {f"encoder.{name}": value for name, value in build_frozen(SECTION).encoder.state_dict().items()}
    write_checkpoint({"meta": meta, "state_dict": weights}, tmp_path / "encoder.pth")
    text = worth_of(tmp_path / "encoder.pth", look(str(folder), None, task, 1))
    assert "untrained encoder" in text
    assert "only labels can tell" in text
    assert "--init" in next_commands(tmp_path / "encoder.pth", str(folder), None, task, False)


def table(folder, rows):
    path = folder.parent / "table.csv"
    path.write_text("path,label\n" + "".join(f"{folder}/train/{'ab'[i % 2]}/{i}.png,{label}\n" for i, label in rows))
    return str(path)


def test_labels_of_a_table_leave_all_images_to_train_on(folder):
    data = look(str(folder / "train"), table(folder, [(i, "xy"[i % 2]) for i in range(50)]), "classify", 1)
    assert data.facts.images == 60
    assert data.place["root"] == str(folder / "train")
    assert (data.labelled["part"], data.held_back["part"]) == ("train", "val")
    assert (data.facts.labelled, data.facts.classes, data.numbers) == (40, 2, [None])
    assert data.judging == data.labelled


def test_few_labels_do_not_choose(folder):
    data = look(str(folder / "train"), table(folder, [(i, "xy"[i % 2]) for i in range(20)]), "classify", 1)
    assert data.facts.labelled == 16
    assert data.judging is None


def test_numbers_are_predicted_as_numbers(folder):
    data = look(str(folder / "train"), table(folder, [(i, f"{i * 0.37:.2f}") for i in range(50)]), "retrieve", 1)
    model = build_frozen(SECTION)
    verdict = Judge(data.place, data.judging)(model, 0.5)
    assert verdict.judged_by.startswith("r2")
    assert data.facts.classes == 0


def test_a_class_of_one_image_is_refused(folder):
    labels = [(i, "xy"[i % 2]) for i in range(30)] + [(40, "z")]
    with pytest.raises(UsageError, match="A class has fewer than two labelled images"):
        look(str(folder / "train"), table(folder, labels), "classify", 1)
