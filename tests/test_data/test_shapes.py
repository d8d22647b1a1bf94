"""ShapesDataset: pictures are a function of (seed, index), and boxes, masks and the semantic map tell one story."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from maetool.data.drawn.scene import MIN_VISIBLE, OUTLINES, TEXTURES, draw_image
from maetool.data.drawn.shapes import ShapesDataset, band_weights
from maetool.errors import UsageError
from maetool.registry import DATASETS

NUM_CLASSES = len(TEXTURES)


def dataset(num_samples=64, img_size=32, **kwargs):
    return ShapesDataset(num_samples, img_size, **kwargs)


def digest(images):
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()


def stack(data, indices):
    return torch.stack([data.load(i)["inputs"] for i in indices])


@pytest.mark.parametrize("img_size", [16, 32, (32, 48), (56, 40)])
def test_sample_has_the_size_asked_for(img_size):
    sample = dataset(img_size=img_size)[5]
    height, width = img_size if isinstance(img_size, tuple) else (img_size, img_size)
    assert sample["inputs"].shape == (3, height, width)
    assert sample["inputs"].dtype == torch.uint8
    assert sample["index"] == 5
    assert type(sample["label"]) is int


def test_picture_is_a_function_of_seed_and_index():
    first, again = dataset(), dataset(num_samples=100)
    assert torch.equal(stack(first, range(20)), stack(again, reversed(range(20))).flip(0))
    assert len({digest(first.load(i)["inputs"]) for i in range(64)}) == 64
    # Seed 8 gives index 0 the same class as seed 0: the picture differs all the same.
    assert not torch.equal(first.load(0)["inputs"], dataset(seed=NUM_CLASSES).load(0)["inputs"])


def test_global_random_state_is_neither_read_nor_changed():
    np.random.seed(1)
    torch.manual_seed(1)
    first = dataset().load(3)["inputs"]
    draws = np.random.rand(), torch.rand(1).item()
    np.random.seed(1)
    torch.manual_seed(1)
    assert draws == (np.random.rand(), torch.rand(1).item())
    assert torch.equal(first, dataset().load(3)["inputs"])


def test_pictures_have_contrast_and_colour():
    images = stack(dataset(), range(64)).float()
    assert images.mean(1).std((1, 2)).min() > 10  # a flat picture has no class
    assert (images.amax(1) - images.amin(1)).mean() > 20  # a grey one would be 0


def test_labels_are_balanced_and_cheap_to_know():
    data = dataset(num_samples=8 * NUM_CLASSES**2, seed=5)
    labels = data.labels
    assert labels.dtype == torch.int64
    assert labels.tolist() == [data.label_of(i) for i in range(len(data))]
    assert labels.bincount().tolist() == [8 * NUM_CLASSES] * NUM_CLASSES
    assert labels[::2].bincount().tolist() == [4 * NUM_CLASSES] * NUM_CLASSES  # what one of two ranks sees
    assert labels[::NUM_CLASSES].bincount().tolist() == [8] * NUM_CLASSES
    assert [data.load(i)["label"] for i in range(NUM_CLASSES)] == labels[:NUM_CLASSES].tolist()


def test_same_class_of_texture_means_same_label():
    """Where the texture is alone, horizontal stripes vary along columns and vertical ones along rows."""
    data = dataset(num_samples=200)
    for name, varies, still in (("horizontal stripes", 1, 2), ("vertical stripes", 2, 1)):
        members = (data.labels == list(TEXTURES).index(name)).nonzero().flatten().tolist()
        images = stack(data, members).float().mean(1)
        assert images.diff(dim=varies).abs().mean() > 1.3 * images.diff(dim=still).abs().mean()


@pytest.mark.parametrize("img_size", [32, (32, 48), (64, 40)])
def test_masks_boxes_and_semantic_map_agree(img_size):
    data = dataset(img_size=img_size)
    for index in range(40):
        scene = data.scene(index)
        assert 1 <= len(scene.masks) == len(scene.boxes) == len(scene.box_labels) <= 3
        assert scene.masks.dtype == bool and scene.boxes.dtype == np.float32 and scene.semantic.dtype == np.uint8
        assert scene.masks.sum(0).max() == 1  # no two overlap
        painted = np.zeros_like(scene.semantic)
        for mask, box, label in zip(scene.masks, scene.boxes.astype(int), scene.box_labels, strict=True):
            left, top, right, bottom = box
            inside = mask[top:bottom, left:right]
            assert inside.sum() == mask.sum() > 0
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()  # no slack
            painted[mask] = label + 1
        assert np.array_equal(painted, scene.semantic)


def test_every_outline_appears_and_objects_occlude():
    scenes = [dataset(200).scene(i) for i in range(200)]
    seen = np.bincount(np.concatenate([s.box_labels for s in scenes]), minlength=len(OUTLINES))
    assert len(seen) == len(OUTLINES) and seen.min() > 10
    counts = np.bincount([len(s.masks) for s in scenes])
    assert counts[2] > 20 and counts[3] > 20
    boxes = [s.boxes for s in scenes if len(s.boxes) > 1]
    overlaps = sum((np.maximum(b[0, :2], b[1, :2]) < np.minimum(b[0, 2:], b[1, 2:])).all() for b in boxes)
    assert overlaps > 20


def test_masks_lie_on_the_objects_of_the_picture():
    """Light and shadow scale a colour: where an object is visible, the pixels are multiples of its colour."""
    for index in range(64):
        image, things = draw_image(index % NUM_CLASSES, (32, 48), np.random.default_rng(index))
        edges = sum((thing.cover > 0) & (thing.cover < 0.999) for thing in things)
        for thing in things:
            whole = thing.visible & (edges == 0) & (image.max(2) < 255)
            pixels = image[whole].astype(float)
            cosine = pixels @ thing.colour / np.linalg.norm(pixels, axis=1) / np.linalg.norm(thing.colour)
            assert cosine.min(initial=1) > 0.995


def test_hidden_objects_are_left_out(monkeypatch):
    assert 0 < MIN_VISIBLE < 1
    strict = [len(dataset().scene(i).masks) for i in range(64)]
    monkeypatch.setattr("maetool.data.drawn.scene.MIN_VISIBLE", 0.0)
    assert sum(len(dataset().scene(i).masks) for i in range(64)) > sum(strict)


def test_same_scene_at_another_size():
    small, large = dataset(), dataset(img_size=64)
    near = far = 0.0
    for index in range(32):
        shrunk = large.load(index)["inputs"].float().unflatten(1, (32, 2)).unflatten(3, (32, 2)).mean((2, 4))
        near += (small.load(index)["inputs"] - shrunk).abs().mean().item() / 32
        far += (small.load((index + 8) % 64)["inputs"] - shrunk).abs().mean().item() / 32
    assert near < 4 < far / 4


def test_scene_shows_what_load_returns():
    data = dataset(img_size=(32, 48))
    scene, sample = data.scene(7), data.load(7)
    assert np.array_equal(scene.image.transpose(2, 0, 1), sample["inputs"].numpy())
    assert scene.label == sample["label"]


@pytest.mark.parametrize("in_chans", [1, 2, 5])
def test_other_channels_are_mixes_of_the_colour_planes(in_chans):
    data = dataset(in_chans=in_chans)
    weights = band_weights(in_chans)
    assert weights.shape == (3, in_chans)
    assert np.allclose(weights.sum(0), 1) and (weights >= 0).all()
    image = data.load(2)["inputs"]
    assert image.shape == (in_chans, 32, 32) and image.dtype == torch.uint8
    mixed = np.einsum("hwr,rc->chw", data.scene(2).image, weights)
    assert np.abs(mixed - image.numpy()).max() <= 0.51
    assert len({digest(plane) for plane in image}) == in_chans


def test_cache_changes_nothing_and_survives_transforms_in_place():
    cached, drawn = dataset(cache=True), dataset(cache=False)
    cached.load(4)["inputs"].zero_()
    assert torch.equal(cached.load(4)["inputs"], drawn.load(4)["inputs"])


def test_cache_draws_once(monkeypatch):
    cached, drawn = dataset(cache=True), dataset(cache=False)
    for data in (cached, drawn):
        data.load(4)
    monkeypatch.setattr("maetool.data.drawn.shapes.draw_image", lambda *args: pytest.fail("drawn again"))
    cached.load(4)
    with pytest.raises(pytest.fail.Exception, match="drawn again"):
        drawn.load(4)


@pytest.mark.parametrize("cache", [True, False])
def test_workers_draw_the_same_pictures(cache):
    batches = [
        torch.cat([batch["inputs"] for batch in DataLoader(dataset(cache=cache), batch_size=16, num_workers=workers)])
        for workers in (0, 2)
    ]
    assert torch.equal(*batches)


def test_another_process_draws_the_same_picture():
    # Only the drawing, which needs no torch: a fresh interpreter has other hashes and no shared state.
    code = (
        "import hashlib, numpy; from maetool.data.drawn.scene import draw_image;"
        "image, _ = draw_image(2, (32, 48), numpy.random.default_rng((0, 2)));"
        "print(hashlib.sha256(image.transpose(2, 0, 1).tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(dataset(img_size=(32, 48)).load(2)["inputs"])


def test_pipeline_is_applied_to_the_inputs():
    plain, flipped = dataset(), dataset(pipeline=[lambda image: image.flip(-1)])
    assert torch.equal(flipped[3]["inputs"], plain[3]["inputs"].flip(-1))


def test_is_built_from_a_config_and_names_its_classes():
    data = DATASETS.build({"type": "ShapesDataset", "num_samples": 3, "img_size": [32, 48]})
    assert len(data) == 3 and data[2]["inputs"].shape == (3, 32, 48)
    assert len(data.metainfo["classes"]) == NUM_CLASSES and len(data.metainfo["object_classes"]) == len(OUTLINES)


@pytest.mark.parametrize("index", [-1, 64])
def test_index_out_of_range(index):
    for method in (dataset().load, dataset().scene, dataset().label_of):
        with pytest.raises(IndexError, match="64"):
            method(index)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"num_samples": 0}, "num_samples is 0"),
        ({"num_samples": 2.5}, "num_samples is 2.5"),
        ({"num_samples": True}, "num_samples is True"),
        ({"img_size": 15}, "img_size is 15.*16"),
        ({"img_size": (32, 8)}, r"img_size is \(32, 8\)"),
        ({"img_size": (32, 32, 3)}, "img_size"),
        ({"img_size": "32"}, "img_size is '32'"),
        ({"in_chans": 0}, "in_chans is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": None}, "seed is None"),
    ],
)
def test_mistakes_are_named(kwargs, words):
    with pytest.raises(UsageError, match=words):
        dataset(**kwargs)
