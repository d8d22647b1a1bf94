"""Clips: their class is how their objects move, which no frame says, and transforms hit all frames alike."""

import numpy as np
import pytest
import torch

from maetool.data import ImageDataset, MovingShapesDataset
from maetool.data.drawn.moving_shapes import DIRECTIONS, SPEEDS, draw_clip
from maetool.data.drawn.scene import TEXTURES, draw_ground, paint
from maetool.errors import UsageError
from maetool.registry import DATASETS, TRANSFORMS

LABELS = MovingShapesDataset.label_names
WAYS = {"right": (1, 0), "down": (0, 1), "left": (-1, 0), "up": (0, -1)}  # columns, rows


def foreground(label, number, size=32, frames=6):
    """Return where objects and their shadows are, bool (T, H, W)."""
    clip = draw_clip(label, (size, size), frames, np.random.default_rng(number))
    rng = np.random.default_rng(number)
    rng.uniform(size=2)  # the velocity
    ground, light = draw_ground(int(rng.integers(len(TEXTURES))), (size, size), rng)
    return np.abs(clip.astype(int) - paint(ground, [], light)).max(-1) > 8


def shift_of(before, after):
    """Return columns and rows from one mask to another at which they correlate best."""
    first, second = (np.fft.fft2(each - each.mean()) for each in (before, after))
    place = np.unravel_index(np.fft.ifft2(first.conj() * second).real.argmax(), before.shape)
    return [(int(p) + n // 2) % n - n // 2 for p, n in zip(place[::-1], before.shape, strict=True)]


@pytest.mark.parametrize("in_chans", [3, 1, 5])
def test_a_sample_is_a_clip(in_chans):
    data = MovingShapesDataset(20, (16, 24), frames=5, in_chans=in_chans)
    sample = data[9]
    assert sample["inputs"].shape == (in_chans, 5, 16, 24) and sample["inputs"].dtype == torch.uint8
    assert sample["label"] == data.labels[9] and data.classes[sample["label"]] == LABELS[(9 + 1) % 8]
    assert torch.equal(sample["inputs"], MovingShapesDataset(30, (16, 24), 5, in_chans, cache=False)[9]["inputs"])
    assert not torch.equal(sample["inputs"], MovingShapesDataset(20, (16, 24), 5, in_chans, seed=8)[9]["inputs"])


def test_classes_are_balanced_and_built_from_a_config():
    data = DATASETS.build({"type": "MovingShapesDataset", "num_samples": 64, "img_size": 16, "frames": 2})
    assert data.labels.bincount().tolist() == [8] * len(DIRECTIONS) * len(SPEEDS) == [8] * len(data.classes)
    few = MovingShapesDataset(64, 16, 2, labels_per_class=2)
    assert few.labels.bincount().tolist() == [2] * 8 and len(few) == 16


@pytest.mark.parametrize("label", range(len(LABELS)))
def test_objects_move_as_the_class_says(label):
    direction, speed = LABELS[label].split(", ")
    size, apart = 64, 3 if speed == "slow" else 2
    masks = [foreground(label, number, size, apart + 1) for number in range(12)]
    moved = np.median([shift_of(clip[0], clip[apart]) for clip in masks], axis=0) / size / apart
    along = moved @ np.array(WAYS[direction])
    assert along == pytest.approx(SPEEDS[speed], abs=0.012)
    assert np.abs(moved - along * np.array(WAYS[direction])).max() < 0.25 * along


def test_a_frame_does_not_say_the_class():
    first = [draw_clip(label, (24, 32), 1, np.random.default_rng(5))[0] for label in range(len(LABELS))]
    assert all(np.array_equal(first[0], other) for other in first[1:])
    # In the last frame objects are as often on each side, whichever way they went.
    columns = [
        np.mean([foreground(LABELS.index(name), number, frames=8)[-1].sum(0) for number in range(60)], axis=0)
        for name in ("right, fast", "left, fast")
    ]
    middles = [float((share * np.arange(32)).sum() / share.sum()) for share in columns]
    assert abs(middles[0] - middles[1]) < 2
    assert min(middles) > 13 and max(middles) < 18


def test_all_but_the_objects_stands_still():
    clip = draw_clip(1, (32, 32), 6, np.random.default_rng(3)).astype(int)
    still = ~foreground(1, 3).any(0)
    assert still.mean() > 0.3
    assert np.abs(clip[:, still] - clip[:1, still]).max() <= 8


MOVES = {
    "RandomResizedCrop": {"size": (12, 20)},
    "SingleDrawCrop": {"size": 20},
    "RandomHorizontalFlip": {"p": 0.5},
    "ResizeCenterCrop": {"size": (24, 16)},
    "ResizeRandomCrop": {"size": 20},
    "Resize": {"size": (40, 20)},
}


@pytest.mark.parametrize("name", MOVES)
def test_a_transform_does_the_same_to_each_frame(name):
    transform, clips = TRANSFORMS.build({"type": name, **MOVES[name]}), MovingShapesDataset(4, (28, 36), frames=4)
    for number in range(4):
        clip = clips.load(number)["inputs"]
        torch.manual_seed(number)
        changed = transform(clip)
        assert changed.dtype == torch.uint8 and changed.ndim == 4
        for frame in range(4):
            torch.manual_seed(number)
            alone = transform(clip[:, frame].contiguous())
            assert (changed[:, frame].int() - alone.int()).abs().max() <= 1  # rounding of a single grey level
        torch.manual_seed(number)
        assert torch.equal(transform(clip.float()[:, 1:3])[:, 1], transform_again(transform, clip, number))


def transform_again(transform, clip, number):
    torch.manual_seed(number)
    return transform(clip.float()[:, 2:])[:, 0]


def test_a_clip_of_one_picture_stays_one_picture():
    pipeline = [{"type": "RandomResizedCrop", "size": 16}, {"type": "RandomHorizontalFlip"}]
    still = Still(pipeline)
    crops = [still[0, key]["inputs"] for key in range(6)]
    assert all(torch.equal(crop[:, 0], crop[:, frame]) for crop in crops for frame in range(5))
    assert len({crop.sum().item() for crop in crops}) == 6
    assert torch.equal(crops[2], still[0, 2]["inputs"])


class Still(ImageDataset):
    """A clip whose frames are all the same."""

    def __len__(self):
        return 1

    def load(self, index):
        return {"inputs": MovingShapesDataset(1, 32, frames=1).load(0)["inputs"].expand(-1, 5, -1, -1)}


@pytest.mark.parametrize(("name", "value"), [("frames", 0), ("frames", 2.0), ("in_chans", 0), ("num_samples", None)])
def test_mistakes_are_named(name, value):
    with pytest.raises(UsageError, match=f"{name} is {value}"):
        MovingShapesDataset(**{"num_samples": 4, "img_size": 16, name: value})
