"""Views with pipelines of their own, of several crops."""

import pytest
import torch

from maetool.data import ShapesDataset
from maetool.data.transforms import SeveralViews
from maetool.errors import UsageError

CROP = {"type": "RandomResizedCrop", "scale": (0.2, 0.9)}
JITTER = {"type": "torchvision.transforms.v2.ColorJitter", "brightness": 0.8}
VIEWS = {"large": {"pipeline": [CROP]}, "small": {"pipeline": [CROP, JITTER], "crops": 3, "size": (8, 12)}}


def test_each_view_has_its_size_and_draws():
    image = torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8)
    before = image.clone()
    torch.manual_seed(0)
    views = SeveralViews(16, VIEWS)(image)
    assert {name: tuple(view.shape) for name, view in views.items()} == {"large": (3, 16, 16), "small": (3, 3, 8, 12)}
    first, second, third = views["small"].unbind(dim=1)
    assert not first.equal(second) and not second.equal(third) and image.equal(before)
    torch.manual_seed(0)
    assert all(view.equal(views[name]) for name, view in SeveralViews(16, VIEWS)(image).items())


def test_a_dataset_gives_the_same_views_for_the_same_key():
    dataset = ShapesDataset(4, 48, pipeline=[{"type": "SeveralViews", "size": 16, "views": VIEWS}])
    inputs, again = dataset[dataset.key_of(1)]["inputs"], dataset[dataset.key_of(1)]["inputs"]
    assert inputs["small"].equal(again["small"]) and inputs["large"].equal(again["large"])
    assert not inputs["small"].equal(dataset[dataset.key_of(1, epoch=1)]["inputs"]["small"])


def test_a_photograph_is_not_decoded_for_every_crop(tmp_path, monkeypatch):
    from PIL import Image

    from maetool.data import ImageFolderDataset
    from maetool.data.codecs.encoded import EncodedImage

    Image.new("RGB", (60, 50)).save(tmp_path / "one.jpg")
    decoded, decode = [], EncodedImage._decode
    monkeypatch.setattr(EncodedImage, "_decode", lambda *args: decoded.append(args[2]) or decode(*args))
    views = {**VIEWS, "small": {**VIEWS["small"], "crops": 9}, "raw": {"pipeline": [JITTER]}}
    inputs = ImageFolderDataset(tmp_path, pipeline=[SeveralViews(16, views)])[0]["inputs"]
    assert len(decoded) < 6 and inputs["raw"].shape == (3, 50, 60)


@pytest.mark.parametrize(
    ("views", "sentence"),
    [
        ({}, "SeveralViews got no views"),
        ({"a": {"crops": 2}}, "must have a pipeline of at least one transform"),
        ({"a": {"pipeline": [CROP], "crops": 0}}, "crops from 1 on"),
        ({"a": {"pipeline": [CROP], "crop": 1}}, "The view a of SeveralViews has no argument `crop`"),
    ],
)
def test_bad_views(views, sentence):
    with pytest.raises(UsageError, match=sentence):
        SeveralViews(16, views)
