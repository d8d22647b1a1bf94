"""Transforms of MMCV in pipelines: images, classes of pixels, keys, and what is refused."""

import random
from dataclasses import replace

import mmcv
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, RandomResize
from mmengine.registry import DefaultScope
from PIL import Image

from maetool.data import ImageFolderDataset, ObjectShapesDataset, SegmentationDataset, ShapesDataset
from maetool.data.keys import SampleKey
from maetool.data.objects import Objects, Picture, boxes_of
from maetool.data.transforms.build import build_transform
from maetool.data.transforms.mmcv_transforms import MmcvTransform
from maetool.errors import UsageError


def picture(channels=3, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (channels, 20, 30), generator=generator).to(dtype)


def marked():
    """An image whose first channel is the class of each pixel."""
    semantic = torch.arange(20)[:, None] // 5 + 4 * (torch.arange(30)[None] // 10)
    return {"inputs": semantic.to(torch.uint8).expand(3, -1, -1).clone(), "semantic": semantic}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_go_through_as_mmcv_changes_arrays(dtype):
    image = picture(dtype=dtype)
    array = image.permute(1, 2, 0).numpy()  # RGB stays RGB
    expected = {
        "Resize": ({"scale": (16, 12)}, mmcv.imresize(array, (16, 12))),
        "RandomFlip": ({"prob": 1.0}, mmcv.imflip(array)),
        "CenterCrop": ({"crop_size": (8, 10)}, array[5:15, 11:19]),
        "RandomGrayscale": (
            {"prob": 1.0, "keep_channels": True, "channel_weights": (1.0, 0.0, 0.0)},
            array[..., :1].repeat(3, axis=2),
        ),
    }
    for name, (arguments, result) in expected.items():
        changed = build_transform({"type": f"mmcv.{name}", **arguments})(image)
        assert changed.dtype == dtype
        np.testing.assert_array_equal(changed.permute(1, 2, 0).numpy(), result, err_msg=name)


def test_in_a_run_the_parts_inside_are_mmcvs():
    """Both have a Resize, and a run looks for names among maetool's first."""
    with DefaultScope.overwrite_default_scope("maetool"):
        resize = build_transform({"type": "mmcv.RandomResize", "scale": (16, 12), "ratio_range": (1.0, 1.0)})
        assert DefaultScope.get_current_instance().scope_name == "maetool"
    assert resize(picture()).shape == (3, 12, 16)


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_any_number_of_channels(channels):
    resized = build_transform({"type": "mmcv.Resize", "scale": (16, 12)})(picture(channels, torch.float32))
    assert resized.shape == (channels, 12, 16)


@pytest.mark.parametrize(
    "transform",
    [
        {"type": "mmcv.RandomFlip", "prob": 1.0, "direction": "vertical"},
        {"type": "mmcv.CenterCrop", "crop_size": (10, 12)},
        {"type": "mmcv.Resize", "scale": (60, 40), "interpolation": "nearest"},
        {"type": "mmcv.RandomApply", "transforms": [{"type": "mmcv.RandomFlip", "prob": 1.0}], "prob": 1.0},
    ],
    ids=lambda transform: transform["type"],
)
@pytest.mark.parametrize("ignored", [255, -1, 300])
def test_classes_change_with_their_image(transform, ignored):
    sample = marked()
    sample["semantic"][5:7] = ignored
    changed = build_transform(transform)(sample)
    counted = changed["semantic"] != ignored
    assert changed["semantic"].dtype == torch.int64
    assert torch.equal(changed["inputs"][0][counted].long(), changed["semantic"][counted])
    assert not counted.all()
    assert changed["inputs"].shape != sample["inputs"].shape or not torch.equal(changed["inputs"], sample["inputs"])


def test_what_is_padded_counts_nothing():
    padded = build_transform({"type": "mmcv.Pad", "size": (40, 40)})(marked())
    assert (padded["semantic"][:, 30:] == 255).all()
    assert (padded["inputs"][:, 20:] == 0).all()


def test_a_folder_of_images_is_augmented_by_the_key(tmp_path):
    for number in range(3):
        Image.fromarray(picture().permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    steps = [
        {"type": "mmcv.RandomResize", "scale": (60, 40), "ratio_range": (0.5, 2.0)},
        {"type": "mmcv.RandomFlip", "prob": 0.5},
        {"type": "mmcv.RandomGrayscale", "prob": 0.3, "keep_channels": True},
        {"type": "RandomResizedCrop", "size": 16},
    ]
    dataset = ImageFolderDataset(tmp_path, pipeline=steps)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first = [dataset[SampleKey(0, key)]["inputs"] for key in range(20)]
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    again = [dataset[SampleKey(0, key)]["inputs"] for key in range(20)]
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert len({one.numpy().tobytes() for one in first}) == 20
    assert all(one.shape == (3, 16, 16) and one.dtype == torch.uint8 for one in first)


def test_drawn_shapes_keep_their_label():
    dataset = ShapesDataset(2, 32, pipeline=[{"type": "mmcv.Resize", "scale": (24, 24)}])
    assert dataset[1]["inputs"].shape == (3, 24, 24)
    assert dataset[1]["label"] == int(dataset.labels[1])


def test_a_folder_with_classes_of_pixels(tmp_path):
    for place, values in (("images", marked()["inputs"].permute(1, 2, 0)), ("annotations", marked()["semantic"])):
        (tmp_path / place / "training").mkdir(parents=True)
        Image.fromarray(values.numpy().astype(np.uint8)).save(tmp_path / place / "training/a.png")
    flip = {"type": "mmcv.RandomFlip", "prob": 0.5}
    dataset = SegmentationDataset(
        tmp_path, image_suffix=".png", classes=list("abcdefghijkl"), pipeline=[flip, {"type": "RandomFlip", "p": 0.0}]
    )
    samples = [dataset[SampleKey(0, key)] for key in range(12)]
    mirrored = sum(torch.equal(sample["semantic"], marked()["semantic"].flip(1)) for sample in samples)
    assert 1 <= mirrored <= 11
    for sample in samples:
        assert torch.equal(sample["inputs"][0].long(), sample["semantic"])


class ImageOnly(BaseTransform):
    """Somebody's transform in MMCV's style."""

    def transform(self, results):
        results["img"] = results["img"][:10]
        return results


class Dropped(ImageOnly):
    def transform(self, results):
        return None


def test_transforms_in_the_style_of_mmcv_are_taken():
    assert isinstance(build_transform(ImageOnly()), MmcvTransform)
    with DefaultScope.overwrite_default_scope("mmengine"):  # a run of maetool in this process leaves its own
        resize = RandomResize((3, 3))
    assert isinstance(build_transform(resize), MmcvTransform)
    assert build_transform(ImageOnly())(picture()).shape == (3, 10, 30)
    assert not isinstance(build_transform({"type": "RandomFlip"}), MmcvTransform)  # maetool's own


@pytest.mark.parametrize(
    ("transform", "sample", "reason"),
    [
        ({"type": "mmcv.LoadImageFromFile"}, picture(), "asks for 'img_path', but maetool hands over img, img_shape"),
        ({"type": "mmcv.Normalize", "mean": [0], "std": [1]}, picture(), "leave out Normalize, because data_preproc"),
        ({"type": "mmcv.RandomGrayscale", "prob": 1.0}, picture(), "turned 3 channels of uint8 into 1 of uint8"),
        ({"type": "mmcv.ImageToTensor", "keys": ["img"]}, picture(), "gives no array `img`: leave out"),
        (Dropped(), picture(), "Dropped gives no array `img`"),
        (ImageOnly(), marked(), "ImageOnly gives an image of 10x30 pixels and truth of 20x30"),
    ],
    ids=["path", "normalise", "channels", "tensor", "no image", "truth left behind"],  # the same in all processes
)
def test_what_does_not_fit_is_one_sentence(transform, sample, reason):
    with pytest.raises(UsageError, match=reason):
        build_transform(transform)(sample)


def objects():
    """Three objects, two of which overlap, in the upper left 16 x 24 pixels of 20 x 30; each is painted its label."""
    masks = torch.zeros(3, 20, 30, dtype=torch.bool)
    masks[0, 2:8, 3:9] = masks[1, 6:12, 5:14] = masks[2, 1:4, 20:24] = True
    image = (masks * torch.tensor([1, 2, 4])[:, None, None]).sum(0).to(torch.uint8).expand(3, -1, -1).clone()
    return Picture(image, Objects(boxes_of(masks), torch.tensor([5, 6, 7]), masks), (16, 24))


MOVES = {
    "flip": ({"type": "mmcv.RandomFlip", "prob": 1.0, "direction": "vertical"}, (20, 24), [5, 6, 7]),
    "larger": ({"type": "mmcv.Resize", "scale": (60, 40), "interpolation": "nearest"}, (32, 48), [5, 6, 7]),
    "crop": ({"type": "mmcv.CenterCrop", "crop_size": (16, 12)}, (12, 16), [5, 6]),
    "pad": ({"type": "mmcv.Pad", "size": (40, 36)}, (16, 24), [5, 6, 7]),
}


@pytest.mark.parametrize("with_masks", [True, False])
@pytest.mark.parametrize("name", MOVES)
def test_objects_move_with_their_image(name, with_masks):
    transform, content, labels = MOVES[name]
    before = objects()
    truth = build_transform(transform)(before)
    picture = before if with_masks else replace(before, objects=replace(before.objects, masks=None))
    changed = build_transform(transform)(picture)
    assert changed.objects.labels.tolist() == labels
    assert changed.content == content
    assert torch.equal(changed.image, truth.image)
    if with_masks:
        for label, mask in zip(labels, changed.objects.masks, strict=True):
            painted = (changed.image[0].long() >> (label - 5) & 1).bool()
            assert torch.equal(mask, painted & mask) and torch.equal(painted, mask)
    assert torch.allclose(changed.objects.boxes, truth.objects.boxes)


def test_a_picture_without_objects():
    empty = Objects(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 20, 30, dtype=torch.bool))
    changed = build_transform(MOVES["larger"][0])(Picture(picture(), empty, (20, 30)))
    assert changed.objects.masks.shape == (0, 40, 60)
    assert changed.content == (40, 60)


def test_a_dataset_of_objects(tmp_path):
    flip = {"type": "mmcv.RandomFlip", "prob": 1.0}
    plain, mirrored = ObjectShapesDataset(2, 32), ObjectShapesDataset(2, 32, pipeline=[flip])
    for one, other in zip((plain[i] for i in range(2)), (mirrored[i] for i in range(2)), strict=True):
        assert torch.equal(other["inputs"], one["inputs"].flip(2))
        assert torch.equal(other["objects"].masks, one["objects"].masks.flip(2))
        assert torch.equal(other["objects"].labels, one["objects"].labels)
