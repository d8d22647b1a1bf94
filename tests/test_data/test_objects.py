"""Images with objects: what the transforms do to boxes and masks, and that nothing depends on the workers."""

import pytest
import torch

from maetool.data import (
    FitObjects,
    FlipObjects,
    LargeScaleJitter,
    ObjectShapesDataset,
    RandAugment,
    ShapesDataset,
)
from maetool.data.datasets.detection import collate_objects
from maetool.data.keys import keyed_rng
from maetool.data.objects import Objects, Picture, boxes_of
from maetool.errors import UsageError


def picture_with(*boxes, size=(40, 60), masks=True):
    """A picture whose first channel counts columns, with filled boxes as objects of classes 0, 1, ..."""
    image = torch.arange(size[1], dtype=torch.uint8).expand(3, *size).contiguous()
    found = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(found, boxes, strict=True):
        mask[top:bottom, left:right] = True
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Picture(image, Objects(corners, torch.arange(len(boxes)), found if masks else None), size)


def assert_boxes_hold_masks(objects):
    assert torch.equal(objects.boxes, boxes_of(objects.masks))


def test_shapes_have_the_scenes_truth():
    dataset, plain = ObjectShapesDataset(3, (32, 48), seed=5), ShapesDataset(3, (32, 48), seed=5)
    for index in range(3):
        sample, scene = dataset.load(index), plain.scene(index)
        assert torch.equal(sample["inputs"], plain.load(index)["inputs"])
        assert torch.equal(sample["objects"].masks, torch.from_numpy(scene.masks))
        assert torch.equal(sample["objects"].boxes, torch.from_numpy(scene.boxes))
        assert sample["objects"].labels.tolist() == scene.box_labels.tolist()
        assert "label" not in sample  # the texture is not what is to be found
        assert_boxes_hold_masks(sample["objects"])


def test_a_flip_moves_boxes_and_masks_alike():
    flipped = FlipObjects(1.0)(picture_with((5, 10, 20, 30)))
    assert flipped.objects.boxes.tolist() == [[40, 10, 55, 30]]
    assert flipped.image[0, 0].tolist() == list(range(59, -1, -1))
    assert_boxes_hold_masks(flipped.objects)


def test_fitting_resizes_pads_and_says_what_is_content():
    fitted = FitObjects(120)(picture_with((6, 10, 21, 30)))
    assert fitted.image.shape == (3, 120, 120)
    assert fitted.content == (80, 120)  # 40 x 60, twice
    assert fitted.objects.boxes.tolist() == [[12, 20, 42, 60]]
    assert_boxes_hold_masks(fitted.objects)
    assert (fitted.image[:, 80:] == 114).all() and not (fitted.image[:, :80] == 114).all()


def test_jitter_keeps_what_is_in_sight():
    picture, jitter = picture_with((0, 0, 8, 8), (52, 32, 60, 40), (20, 10, 40, 30)), LargeScaleJitter(40, (0.3, 3.0))
    numbers, contents = set(), set()
    for key in range(40):
        with keyed_rng(key):
            seen = jitter(picture)
        assert seen.image.shape == (3, 40, 40) and seen.objects.masks.shape[1:] == (40, 40)
        assert_boxes_hold_masks(seen.objects)
        rows, columns = seen.content
        assert not seen.objects.masks[:, rows:].any() and not seen.objects.masks[:, :, columns:].any()
        numbers.add(tuple(seen.objects.labels.tolist()))
        contents.add(seen.content)
    assert {(0, 1, 2), (2,)} <= numbers  # small views hold all, large ones not the corners
    assert (40, 40) in contents and any(rows < 40 for rows, _ in contents)


def test_boxes_alone_are_cut_like_those_with_masks():
    boxes = (0, 0, 8, 8), (20, 10, 40, 30)
    for key in range(10):
        results = []
        for masks in (True, False):
            with keyed_rng(key):
                results.append(LargeScaleJitter(40, (1.0, 2.0))(picture_with(*boxes, masks=masks)).objects)
        assert results[1].masks is None
        assert results[0].labels.tolist() == results[1].labels.tolist()
        torch.testing.assert_close(results[0].boxes, results[1].boxes, atol=1.0, rtol=0)  # masks end at whole pixels


def test_an_image_without_objects_passes():
    empty = picture_with()
    for transform in (FlipObjects(1.0), LargeScaleJitter(32), FitObjects(32)):
        empty = transform(empty)
    assert len(empty.objects) == 0 and empty.objects.masks.shape == (0, 32, 32)


def test_a_batch_and_that_it_is_a_function_of_the_keys():
    pipeline = [{"type": "FlipObjects"}, {"type": "LargeScaleJitter", "size": 32, "scale": (0.5, 2.0)}]
    dataset = ObjectShapesDataset(4, (32, 40), pipeline=pipeline)
    first, second = (collate_objects([dataset[index, index + 7] for index in range(4)]) for _ in range(2))
    assert first["inputs"].shape == (4, 3, 32, 32)
    assert first["original_size"].tolist() == [[32, 40]] * 4
    assert torch.equal(first["inputs"], second["inputs"])
    for one, other in zip(first["targets"], second["targets"], strict=True):
        assert one.keys() == {"boxes", "labels", "masks"}
        assert all(torch.equal(one[name], other[name]) for name in one)
    without = ObjectShapesDataset(4, 32, with_masks=False)
    assert collate_objects([without[0]])["targets"][0].keys() == {"boxes", "labels"}


def test_a_transform_of_images_alone_is_refused():
    with pytest.raises(UsageError, match="RandAugment does not move boxes and masks with the image"):
        ObjectShapesDataset(2, 32, pipeline=[RandAugment()])
    with pytest.raises(UsageError, match="LargeScaleJitter got scale="):
        LargeScaleJitter(32, (2.0, 1.0))
