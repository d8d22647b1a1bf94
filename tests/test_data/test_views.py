"""Views of a sample: where they lie, what draws they share, and what may follow them."""

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.data import ImageDataset, ImageFolderDataset, MovingShapesDataset, ShapesDataset
from maetool.data.codecs.encoded import EncodedImage
from maetool.data.transforms import (
    ColourCodes,
    GlobalToLocalViews,
    RandomHorizontalFlip,
    RandomResizedCrop,
    SplitChannels,
    TwoCrops,
    TwoFrames,
)
from maetool.data.transforms.build import build_transform
from maetool.data.transforms.views import in_each_view
from maetool.errors import UsageError

HEIGHT, WIDTH, SIZE = 60, 90, 12


@pytest.fixture
def ramp():
    """An image (2, H, W) whose values are the row and the column of a pixel."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return torch.stack([rows, columns])


def box_of(view):
    """Return top, left, height and width of the part of the ramp that a view shows."""
    inner = view[:, 3:-3, 3:-3]  # a bicubic resize of a ramp is a ramp, but for its margins
    height = (inner[0, -1] - inner[0, 0]).mean().item() / (SIZE - 7) * SIZE
    width = (inner[1, :, -1] - inner[1, :, 0]).mean().item() / (SIZE - 7) * SIZE
    return inner[0].mean().item() - height / 2, inner[1].mean().item() - abs(width) / 2, height, width


def views_of(transform, image, number):
    for seed in range(number):
        torch.manual_seed(seed)
        yield transform(image)


def test_the_local_view_lies_in_the_global_one(ramp):
    transform = GlobalToLocalViews(SIZE, global_scale=(0.2, 0.8), local_scale=(0.3, 0.6), flip=0)
    shares = []
    for views in views_of(transform, ramp, 40):
        assert list(views) == ["global", "local"] and all(view.shape == (2, SIZE, SIZE) for view in views.values())
        (top, left, height, width), (down, right, rows, columns) = map(box_of, views.values())
        assert top >= -0.6 and left >= -0.6 and top + height <= HEIGHT + 0.6 and left + width <= WIDTH + 0.6
        assert down >= top - 0.6 and right >= left - 0.6
        assert down + rows <= top + height + 0.6 and right + columns <= left + width + 0.6
        shares.append((height * width / HEIGHT / WIDTH, rows * columns / height / width))
    outer, inner = np.array(shares).T
    assert 0.1 < outer.min() < 0.35 and 0.6 < outer.max() < 0.83  # what is cut to the image is smaller than drawn
    assert 0.2 < inner.min() < 0.37 and 0.5 < inner.max() < 0.65


def test_boxes_are_drawn_once_and_cut_to_the_image(ramp):
    """Of the whole area at twice the width, half the rows remain: a draw that does not fit is not drawn again."""
    transform = GlobalToLocalViews(SIZE, (1, 1), (1, 1), ratio=(6, 6), flip=0)
    (_, left, height, width), inner = map(box_of, transform(ramp).values())
    assert (left, width) == (pytest.approx(0, abs=0.5), pytest.approx(WIDTH, abs=0.5))
    assert height == pytest.approx((HEIGHT * WIDTH / 6) ** 0.5, abs=1)
    assert inner[2] == pytest.approx((height * width / 6) ** 0.5, abs=1)


@pytest.mark.parametrize("transform", [GlobalToLocalViews(SIZE), TwoCrops(SIZE)])
def test_flips_are_independent(ramp, transform):
    seen = [tuple(box_of(view)[3] < 0 for view in views.values()) for views in views_of(transform, ramp, 60)]
    counts = [seen.count(pair) for pair in ((False, False), (False, True), (True, False), (True, True))]
    assert min(counts) >= 7


def test_two_crops_are_independent(ramp):
    boxes = [[box_of(view) for view in views.values()] for views in views_of(TwoCrops(SIZE, flip=0), ramp, 60)]
    first, second = np.array(boxes).transpose(1, 2, 0)
    assert abs(np.corrcoef(first[0], second[0])[0, 1]) < 0.35
    areas = np.array([box[2] * box[3] / HEIGHT / WIDTH for pair in boxes for box in pair])
    assert 0.17 < areas.min() < 0.35 and areas.max() < 1.02


@pytest.mark.parametrize("transform", [GlobalToLocalViews(16), TwoCrops((16, 24))])
def test_equal_keys_equal_views(transform):
    data, other = (ShapesDataset(8, 32, pipeline=[transform], cache=cache) for cache in (True, False))
    one, same, another = data[3, 7]["inputs"], other[3, 7]["inputs"], data[3, 8]["inputs"]
    assert type(one) is dict and one.keys() == same.keys()
    assert all(torch.equal(one[name], same[name]) and one[name].dtype == torch.uint8 for name in one)
    assert not any(torch.equal(one[name], another[name]) for name in one)


@pytest.mark.parametrize("name", ["GlobalToLocalViews", "TwoCrops"])
def test_a_photograph_is_decoded_once(tmp_path, monkeypatch, name):
    pixels = np.kron(
        np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8)
    )
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    data = ImageFolderDataset(tmp_path, pipeline=[{"type": name, "size": 32}])
    whole = ImageFolderDataset(tmp_path)[0]["inputs"]
    decodes = []
    decode = EncodedImage._decode
    monkeypatch.setattr(EncodedImage, "_decode", lambda self, *args: decodes.append(1) or decode(self, *args))
    for key in range(4):
        decodes.clear()
        views = data[0, key]["inputs"]
        assert len(decodes) == 1
        torch.random.default_generator.manual_seed(key)
        for view, expected in zip(views.values(), data.transforms[0](whole).values(), strict=True):
            assert (view.float() - expected.float()).abs().mean() < 1


def test_two_frames_of_a_clip():
    clip = torch.arange(8).view(1, 8, 1, 1).expand(3, 8, 4, 4)
    pairs = [tuple(int(view.max()) for view in views.values()) for views in views_of(TwoFrames((2, 4)), clip, 300)]
    gaps = np.bincount([future - past for past, future in pairs], minlength=5)
    assert gaps[:2].sum() == 0 and len(gaps) == 5 and gaps[2:].min() > 75
    assert {past for past, _ in pairs} == set(range(6)) and {future for _, future in pairs} == set(range(2, 8))


def test_both_frames_have_the_same_crop_and_flip():
    moving = MovingShapesDataset(4, 32, frames=6)
    pipeline = [RandomResizedCrop(16), RandomHorizontalFlip(), TwoFrames((1, 5))]
    pairs = MovingShapesDataset(4, 32, frames=6, pipeline=pipeline)
    clips = MovingShapesDataset(4, 32, frames=6, pipeline=pipeline[:2])
    for key in range(8):
        views, clip = pairs[1, key]["inputs"], clips[1, key]["inputs"]
        assert list(views) == ["past", "future"] and views["past"].shape == (3, 16, 16)
        places = [[frame for frame in range(6) if torch.equal(view, clip[:, frame])] for view in views.values()]
        assert all(places) and min(places[0]) < max(places[1])
    assert moving[1]["inputs"].shape == (3, 6, 32, 32)


@pytest.mark.parametrize("gap", [(0, 2), (3, 2), (1,), 4, (1.0, 2)])
def test_gaps_that_make_no_sense(gap):
    with pytest.raises(UsageError, match=r"TwoFrames got gap=.*give a pair"):
        TwoFrames(gap)


def test_clips_that_are_too_short_and_pictures_are_refused():
    with pytest.raises(UsageError, match=r"up to 8 apart, but got 8 of .*at least 9 frames"):
        TwoFrames((1, 8))(torch.zeros(3, 8, 4, 4))
    with pytest.raises(UsageError, match="up to 2 apart, but got 1 of"):
        TwoFrames((1, 2))(torch.zeros(3, 8, 4))


def test_what_follows_draws_for_each_view():
    data = ShapesDataset(8, 32, pipeline=[GlobalToLocalViews(16, flip=0), RandomHorizontalFlip(), ColourCodes(4)])
    plain = ShapesDataset(8, 32, pipeline=[GlobalToLocalViews(16, flip=0), ColourCodes(4)])
    flips = set()
    for key in range(24):
        views, still = data[2, key]["inputs"], plain[2, key]["inputs"]
        flips.add(tuple(not torch.equal(views[name], still[name]) for name in views))
    assert flips == {(False, False), (False, True), (True, False), (True, True)}


def test_what_would_part_streams_or_views_is_refused():
    streams = ShapesDataset(2, 32, pipeline=[SplitChannels({"red": [0], "rest": [1, 2]}), RandomHorizontalFlip()])
    with pytest.raises(UsageError, match="RandomHorizontalFlip follows a transform that makes the streams red, rest"):
        streams[0]
    with pytest.raises(UsageError, match="TwoCrops makes several of each view"):
        ShapesDataset(2, 32, pipeline=[TwoCrops(16), TwoCrops(16)])[0]


class Weighed(ImageDataset):
    """Pictures, or streams, of which some pixels count nothing."""

    def __init__(self, pipeline=(), inputs=None):
        super().__init__(pipeline)
        self.inputs = torch.zeros(3, 16, 16, dtype=torch.uint8) if inputs is None else inputs

    def __len__(self):
        return 1

    def load(self, index):
        return {"inputs": self.inputs, "weight": torch.ones(16, 16, dtype=torch.bool)}


@pytest.mark.parametrize("transform", [TwoCrops(8), ColourCodes(4), SplitChannels({"a": [0]})])
def test_a_weight_of_pixels_does_not_go_with_views_or_codes(transform):
    with pytest.raises(UsageError, match="weight for each pixel, which does not go with"):
        Weighed([transform])[0]
    with pytest.raises(UsageError, match="weight for each pixel"):
        Weighed(inputs={"a": torch.zeros(3, 16, 16)})[0]
    assert Weighed([RandomHorizontalFlip()])[0]["weight"].shape == (16, 16)


def test_a_dataset_may_load_streams_itself():
    class Both(Weighed):
        def load(self, index):
            return {"inputs": {"rgb": self.inputs, "depth": self.inputs[:1].float()}}

    assert {name: x.shape[0] for name, x in Both()[0]["inputs"].items()} == {"rgb": 3, "depth": 1}


def test_groups_of_channels_may_be_views_that_are_cropped_apart():
    image = torch.arange(2 * 20 * 20).reshape(2, 20, 20)
    pipeline = [
        {"type": "SplitViews", "groups": {"first": [0], "second": [1]}},
        {"type": "torchvision.transforms.v2.RandomCrop", "size": 8},
    ]
    corners = []
    for key in range(20):
        views = image
        torch.manual_seed(key)
        for transform in map(build_transform, pipeline):
            views = in_each_view(transform, views) if isinstance(views, dict) else transform(views)
        assert list(views) == ["first", "second"] and all(view.shape == (1, 8, 8) for view in views.values())
        corners.append([int(view[0, 0, 0]) % 400 for view in views.values()])
    first, second = np.array(corners).T
    assert len(set(first)) > 10 and (first != second).sum() > 15
