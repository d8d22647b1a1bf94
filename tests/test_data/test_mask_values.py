"""Masks of every convention, and what is said of them before a training."""

import numpy as np
import pytest
from PIL import Image

from maetool.data import SegmentationDataset
from maetool.errors import UsageError
from maetool.evaluation.pixels import SegmentationEvaluator


def dataset(folder, masks, classes=("sky", "road", "car"), ending=".png", **options):
    for name in ("images", "masks"):
        (folder / name).mkdir(exist_ok=True)
    for i, values in enumerate(masks):
        values = np.array(values, np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        Image.fromarray(np.zeros((*values.shape, 3), np.uint8)).save(folder / "images" / f"{i}.JPG")
        Image.fromarray(values).save(folder / "masks" / f"{i}{ending}")
    return SegmentationDataset(folder, "images", "masks", classes=list(classes), **options)


def test_shares_are_told_by_name(tmp_path):
    data = dataset(tmp_path, [[[0, 1], [2, 255]], [[0, 0], [0, 1]]])
    text = "2 images whose pixels are of 3 classes. Pixels in the 2 masks: sky 50.0%, road 25.0%, car 12.5%; 12.5% are"
    assert data.describe().startswith(text)
    assert data.warning_of(None) == ""


def test_of_many_masks_and_classes_some(tmp_path):
    data = dataset(tmp_path, [[[i % 20, 0]] for i in range(70)], [f"c{i}" for i in range(20)])
    assert "Pixels in 64 of 70 masks: c0 " in data.describe() and ", ..., " in data.describe()


@pytest.mark.parametrize(
    ("masks", "options", "sentence"),
    [
        ([[0, 255], [255, 0]], {}, r"values 0: 50.0%, 255: 50.0%, but 255 is ignored.* write 1 in its place"),
        ([[0, 255], [255, 0]], {"zero_is_ignored": True}, "if 255 is the second class"),
        ([[0, 1], [1, 1]], {"zero_is_ignored": True}, r"if the classes are numbered from 0, set zero_is_ignored=False"),
        ([[0, 1], [1, 255]], {"zero_is_ignored": True}, r"if the classes are numbered from 0, set zero_is_ignored=Fal"),
        ([[255, 255], [255, 255]], {}, "all are ignored"),
        ([[0, 0], [0, 0]], {"zero_is_ignored": True}, "fewer than two classes"),
    ],
)
def test_masks_from_which_nothing_is_learnt(tmp_path, masks, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        dataset(tmp_path, [masks], ("background", "object"), **options).describe()


def test_numbers_that_may_be_shifted_are_asked_about(tmp_path):
    data = dataset(tmp_path, [[[0, 1], [2, 2]]], zero_is_ignored=True)
    assert data.describe()
    warning = data.warning_of(None)
    assert warning.startswith(
        "1 of 3 classes never occur in the only mask: `car`. 25.0% of the pixels are 0, which is ignored"
    )
    assert "zero_is_ignored" not in dataset(tmp_path, [[[1, 1], [2, 2]]], zero_is_ignored=True).warning_of(None)
    assert dataset(tmp_path, [[[0, 0], [0, 2]]]).warning_of(None).endswith("never occur in the only mask: `road`.")


def test_palettes_hold_their_numbers(tmp_path):
    data = dataset(tmp_path, [[[0, 1], [2, 2]]])
    picture = Image.open(tmp_path / "masks" / "0.png").convert("L")
    indexed = Image.fromarray(np.array(picture), "P")
    indexed.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    indexed.save(tmp_path / "masks" / "0.png")
    assert data.describe().count("car 50.0%") == 1


@pytest.mark.parametrize("ending", [".jpg", ".JPEG", ".webp"])
def test_lossy_masks_are_refused(tmp_path, ending):
    with pytest.raises(UsageError, match="compression changes the values"):
        dataset(tmp_path, [[[0, 1], [2, 2]]], ending=ending, annotation_suffix=ending.lower())


@pytest.mark.parametrize("ending", [".png", ".PNG", ".Png"])
def test_endings_in_any_case(tmp_path, ending):
    assert len(dataset(tmp_path, [[[0, 1], [2, 2]]], ending=ending)) == 1


@pytest.mark.parametrize("option", ["image_suffix", "annotation_suffix"])
def test_other_endings_are_named_with_the_option(tmp_path, option):
    with pytest.raises(UsageError, match=rf"ends in .tiff, but there are 1 that end in .*: set dataset.{option} to"):
        dataset(tmp_path, [[[0, 1], [2, 2]]], **{option: ".tiff"})


@pytest.mark.parametrize(
    ("masks", "options", "sentence"),
    [
        ([[0, 255], [255, 0]], {}, "write 1 in its place"),
        ([[255, 255], [255, 255]], {}, "all are ignored"),
        ([[0, 0], [0, 0]], {"zero_is_ignored": True}, "fewer than two classes"),
    ],
)
def test_an_evaluation_refuses_the_same_masks(tmp_path, masks, options, sentence):
    data = dataset(tmp_path, [masks], ("background", "object"), **options)
    with pytest.raises(UsageError, match=sentence):
        SegmentationEvaluator().check_dataset(data)


@pytest.mark.parametrize(
    ("masks", "options", "words"),
    [
        ([[0, 1], [1, 1]], {"zero_is_ignored": True}, "set zero_is_ignored=False"),
        ([[0, 0], [0, 0]], {}, "1 of 2 classes never occur in the only mask: `object`"),
        ([[0, 1], [1, 1]], {}, ""),
    ],
)
def test_an_evaluation_tells_shares_and_doubts_once(tmp_path, monkeypatch, masks, options, words):
    lines = []
    monkeypatch.setattr("maetool.evaluation.pixels.print_log", lambda text, **_: lines.append(text))
    data, evaluator = dataset(tmp_path, [masks], ("background", "object"), **options), SegmentationEvaluator()
    for _ in range(2):
        evaluator.check_dataset(data)
    assert lines[0].startswith("Validation masks: Pixels in the only mask: ")
    assert len(lines) == 1 + bool(words) and words in lines[-1]


COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)


@pytest.mark.parametrize(
    ("palettes", "sentence"),
    [
        ([[0, 1, 2], [0, 2, 1]], r"the value 1 has the colour \(255, 0, 0\) in .*0.png, but \(0, 255, 0\) in .*1.png"),
        ([[0, 1], [0, 2]], "the value 1 has the colour"),
        ([[0, 1, 2], [1]], "the value 0 has the colour"),
        ([[0, 1, 2], [0, 1, 2]], None),
        ([[0, 1, 2], [0, 1]], None),
        ([[0, 1, 2], [0, 0]], None),
    ],
)
def test_palettes_of_another_order_in_each_mask(tmp_path, palettes, sentence):
    data = dataset(tmp_path, [[[0, 1], [min(2, len(order) - 1), 0]] for order in palettes])
    for i, order in enumerate(palettes):
        with Image.open(tmp_path / "masks" / f"{i}.png") as mask:
            coloured = Image.fromarray(np.array(mask).clip(0, len(order) - 1))
        coloured.putpalette(COLOURS[order].ravel().tolist())
        coloured.save(tmp_path / "masks" / f"{i}.png")
    if sentence is None:
        assert data.describe()
        return
    with pytest.raises(UsageError, match=sentence):
        data.describe()


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ([0, 0.5, 1], np.float32, "0.5"), ([0, 1, -1], np.int32, "-1"), ([0, np.nan, 1], np.float32, "nan"),
        ([0, 1, 2], np.float32, None), ([0, 1, 2], np.int32, None), ([0, 1, 2], np.uint16, None),
    ],
)  # fmt: skip
def test_values_of_tiff_masks_that_are_no_numbers_of_classes(tmp_path, values, kind, shown):
    data = dataset(tmp_path, [[[0, 1]]], ending=".tif", annotation_suffix=".tif")
    Image.fromarray(np.array([values], kind).repeat(8, axis=0)).save(tmp_path / "masks" / "0.tif")
    if shown is None:
        assert data.describe()
        return
    with pytest.raises(UsageError, match=f"0.tif has the value {shown}, but the pixels of masks are numbers"):
        data.describe()


@pytest.mark.parametrize(
    ("images", "masks", "option"),
    [
        ("{}.JPG", "{}_mask.png", "annotation_suffix=_mask.png"), ("{}.JPG", "{}-gt.png", "annotation_suffix=-gt.png"),
        ("{}_leftImg8bit.jpg", "{}.png", "image_suffix=_leftImg8bit.jpg"),
    ],
)  # fmt: skip
def test_an_ending_of_masks_is_named(tmp_path, images, masks, option):
    dataset(tmp_path, [[[0, 1]]] * 3)
    for folder, name in (("images", images), ("masks", masks)):
        for path in list((tmp_path / folder).iterdir()):
            path.rename(path.with_name(name.format(path.stem)))
    with pytest.raises(UsageError, match=rf"set dataset\.{option}\.$"):
        SegmentationDataset(tmp_path, "images", "masks", classes=["a", "b"])
