"""Transforms of torchvision v2, Albumentations and Kornia in all pipelines: pixels, truth, keys, refusals."""

import pickle
import random
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2
from warm import run_warm

from maetool.data import ImageDataset, MovingShapesDataset, ObjectShapesDataset, ShapesDataset, ShapesSegmentation
from maetool.data.datasets.dense import DenseDataset
from maetool.data.datasets.detection import collate_objects
from maetool.data.keys import SampleKey
from maetool.data.objects import Objects, Picture, boxes_of
from maetool.data.transforms.build import build_transform
from maetool.data.transforms.sample import as_sample, moved_with, plain
from maetool.errors import UsageError

SIZE = (40, 60)
V2, ALB, KOR = "torchvision.transforms.v2.", "albumentations.", "kornia.augmentation."
# Each by the nearest pixel, so that what is painted on the image shows where the truth has to be.
MOVES = [
    {"type": V2 + "RandomHorizontalFlip", "p": 1.0},
    {"type": V2 + "RandomRotation", "degrees": 40, "expand": True},
    {"type": V2 + "RandomCrop", "size": [30, 50]},
    {"type": V2 + "Resize", "size": [20, 90], "interpolation": v2.InterpolationMode.NEAREST},
    {"type": V2 + "Pad", "padding": [3, 5], "fill": 1},
    {"type": V2 + "RandomApply", "transforms": [{"type": V2 + "RandomVerticalFlip", "p": 1.0}], "p": 1.0},
    {"type": V2 + "RandomZoomOut", "p": 1.0},
    {"type": ALB + "HorizontalFlip", "p": 1.0},
    {"type": ALB + "Rotate", "limit": 40, "interpolation": 0, "p": 1.0},
    {"type": ALB + "RandomCrop", "height": 30, "width": 50},
    {"type": ALB + "PadIfNeeded", "min_height": 50, "min_width": 80},
    {"type": ALB + "OneOf", "transforms": [{"type": ALB + "VerticalFlip", "p": 1.0}], "p": 1.0},
    {"type": KOR + "RandomHorizontalFlip", "p": 1.0},
    {"type": KOR + "RandomRotation", "degrees": 40.0, "resample": "nearest", "p": 1.0},
    {"type": KOR + "RandomCrop", "size": (30, 50), "p": 1.0, "cropping_mode": "slice"},
    {"type": KOR + "PadTo", "size": (50, 80)},
]
COLOURS = [
    {"type": V2 + "ColorJitter", "brightness": [0.3, 0.5]},
    {"type": ALB + "RandomBrightnessContrast", "p": 1.0},
    {"type": KOR + "ColorJitter", "brightness": (0.3, 0.5), "p": 1.0},
]


def named(steps):
    return [pytest.param(step, id=step["type"].replace("torchvision.transforms.", "")) for step in steps]


def built(step):
    pytest.importorskip(step["type"].split(".")[0])
    torch.manual_seed(3)  # what they draw is then the same in each run
    return build_transform(step)


def dense():
    """An image whose first channel is the class of each pixel, and weights beside."""
    semantic = torch.arange(SIZE[0])[:, None] // 10 + 4 * (torch.arange(SIZE[1])[None] // 20) + 1
    image = semantic.to(torch.uint8).expand(3, -1, -1).clone()
    image[1] = (semantic % 3 > 0) * 200
    return as_sample({"inputs": image, "semantic": semantic, "weight": semantic % 3 > 0})


def objects(masks=True):
    """Three objects, of which two overlap; each is painted its own bit."""
    seen = torch.zeros(3, *SIZE, dtype=torch.bool)
    seen[0, 10:20, 13:29] = seen[1, 20:35, 30:45] = seen[2, 8:24, 20:40] = True
    image = (seen * torch.tensor([1, 2, 4])[:, None, None]).sum(0).to(torch.uint8).expand(3, -1, -1).clone()
    entries = {"inputs": image, "boxes": boxes_of(seen), "labels": torch.tensor([5, 6, 7]), "content": SIZE}
    return as_sample({**entries, **({"masks": seen} if masks else {})})


@pytest.mark.parametrize("step", named(MOVES))
def test_classes_and_weights_move_with_their_image(step):
    moved = built(step)(dense())
    image, semantic, weight = (plain(moved[name]) for name in ("inputs", "semantic", "weight"))
    counted = semantic != 255
    assert semantic.dtype == torch.int64 and weight.dtype == torch.bool and image.dtype == torch.uint8
    assert torch.equal(image[0][counted].long(), semantic[counted]) and counted.any()
    assert torch.equal(weight, counted & (image[1] == 200))
    assert not torch.equal(image, plain(dense()["inputs"]))


@pytest.mark.parametrize("step", named(MOVES))
def test_objects_move_with_their_image(step):
    moved = built(step)(objects())
    painted = plain(moved["inputs"])[0].long()
    rows, columns = moved["content"]
    assert not plain(moved["masks"])[:, rows:].any() and not plain(moved["masks"])[:, :, columns:].any()
    assert len(moved["labels"]) == 3
    for label, mask in zip(moved["labels"].tolist(), plain(moved["masks"]), strict=True):
        shown = torch.zeros_like(mask)
        shown[:rows, :columns] = (painted[:rows, :columns] >> (label - 5) & 1).bool()
        assert torch.equal(shown, mask) or "fill" in step  # of 1, the bit of an object
    assert torch.equal(plain(moved["boxes"]), boxes_of(plain(moved["masks"])))
    alone = built(step)(objects(masks=False))
    assert "masks" not in alone and alone["labels"].tolist() == moved["labels"].tolist()
    turned = "Rotation" in step["type"] or "Rotate" in step["type"]  # boxes alone then hold their turned corners
    atol = 9.0 if turned else 0.51
    torch.testing.assert_close(plain(alone["boxes"]), plain(moved["boxes"]), atol=atol, rtol=0)


@pytest.mark.parametrize("step", named(COLOURS))
def test_colours_change_alone(step):
    before, moved = dense(), built(step)(dense())
    assert not torch.equal(moved["inputs"], before["inputs"])
    assert torch.equal(moved["semantic"], before["semantic"]) and torch.equal(moved["weight"], before["weight"])
    for masks in (True, False):
        one, other = objects(masks), built(step)(objects(masks))
        assert torch.equal(one["boxes"], other["boxes"]) and torch.equal(one["labels"], other["labels"])


@pytest.mark.parametrize("step", named([*MOVES, *COLOURS]))
def test_images_alone(step):
    for channels, dtype in ((3, torch.uint8), (1, torch.float32)):
        changed = built(step)(torch.arange(channels * 2400).reshape(channels, *SIZE).to(dtype))
        assert type(changed) is torch.Tensor and changed.dtype == dtype and len(changed) == channels


@pytest.mark.parametrize("step", named([*MOVES, *COLOURS]))
def test_pictures_without_objects(step):
    empty = {"inputs": torch.full((3, 50, 60), 9, dtype=torch.uint8), "content": (50, 60), "boxes": torch.zeros(0, 4)}
    empty |= {"labels": torch.zeros(0, dtype=torch.int64)}
    for more in ({}, {"masks": torch.zeros(0, 50, 60, dtype=torch.bool)}):
        moved = built(step)(as_sample(empty | more))
        assert len(moved["boxes"]) == len(moved["labels"]) == 0
        assert ("masks" in moved) == bool(more)
        if more:
            assert moved["masks"].shape == (0, *moved["inputs"].shape[1:])


class Scribbled(v2.Transform):
    """Works in place, and says so in the first pixel of all."""

    def transform(self, value, params):
        value.view(-1)[:1] = 0 if value.dtype == torch.int16 else 7  # the former is the adapter's own
        return value


@pytest.mark.parametrize("kind", [ShapesDataset, ShapesSegmentation, ObjectShapesDataset])
def test_what_works_in_place_changes_no_other_crop(kind):
    dataset, plain_one = kind(1, 32, pipeline=[v2.RandomApply([Scribbled()], p=0.5)]), kind(1, 32)[0]
    crops = dataset.__getitems__([SampleKey(0, key) for key in range(8)])
    crops += [dataset[SampleKey(0, key)] for key in range(8)]
    untouched = [crop for crop in crops if torch.equal(crop["inputs"], plain_one["inputs"])]
    assert 4 <= len(untouched) <= 12
    for crop in untouched:
        assert same({**crop, "key": 0}, {**plain_one, "key": 0})


@pytest.mark.parametrize("library", ["torchvision", "albumentations", "kornia"])
def test_a_dataset_goes_to_a_process_that_is_spawned(library):
    pytest.importorskip(library)
    dataset = ObjectShapesDataset(2, 32, pipeline=PIPELINE[library])
    before = dataset[SampleKey(0, 3)]
    assert same(before, pickle.loads(pickle.dumps(dataset))[SampleKey(0, 3)])


def test_detections_recipe_of_torchvision():
    steps = [v2.RandomIoUCrop(), v2.RandomHorizontalFlip(1.0), v2.SanitizeBoundingBoxes()]
    torch.manual_seed(0)
    for masks in (True, False):
        sample = objects(masks)
        for step in steps:
            sample = moved_with(build_transform(step), sample)
        assert 0 < len(sample["labels"]) == len(sample["boxes"]) and sample["content"] == sample["inputs"].shape[1:]


def test_what_selects_objects_leaves_the_content_as_it_is():
    pad, select = build_transform(v2.Pad([0, 0, 10, 20])), build_transform(v2.SanitizeBoundingBoxes(min_size=50))
    for number in (0, 1, 3):
        sample = {**objects(), "content": (30, 40)}
        sample |= {name: sample[name][:number] for name in ("boxes", "labels", "masks")}
        moved = select(pad(as_sample(sample)))
        assert moved["content"] == (30, 40) and len(moved["labels"]) == len(moved["boxes"]) == 0


def test_boxes_of_another_format_come_back():
    for masks in (True, False):
        moved = build_transform(v2.ConvertBoundingBoxFormat("CXCYWH"))(objects(masks))
        assert torch.equal(moved["boxes"], objects()["boxes"])


def test_a_clip_moves_as_one():
    clip = torch.arange(2 * 4 * 8 * 8, dtype=torch.uint8).reshape(1, 2, 4, 8, 8)[0].expand(2, 4, 8, 8).clone()
    assert torch.equal(build_transform(v2.RandomHorizontalFlip(1.0))(clip), clip.flip(-1))
    cropped = build_transform(v2.RandomCrop(4))(clip)  # one draw for all four frames
    assert (
        cropped.shape == (2, 4, 4, 4)
        and len({(cropped[0, t] - clip[0, t, 0, 0]).numpy().tobytes() for t in range(4)}) == 1
    )


def test_clips_and_views_take_them_too():
    crop, grey = {"type": V2 + "RandomCrop", "size": 24}, {"type": V2 + "RandomGrayscale", "p": 0.5}
    clip = MovingShapesDataset(2, 32, frames=4, pipeline=[crop, {"type": "RandomHorizontalFlip"}])[1]["inputs"]
    assert clip.shape == (3, 4, 24, 24) and type(clip) is torch.Tensor
    dataset = ShapesDataset(2, 32, pipeline=[{"type": "TwoCrops", "size": 16}, grey])
    samples = [dataset[SampleKey(0, key)]["inputs"] for key in range(12)]
    grey_ones = {tuple(bool((view[0] == view[1]).all()) for view in sample.values()) for sample in samples}
    assert grey_ones == {(False, False), (False, True), (True, False), (True, True)}  # a draw for each view
    with pytest.raises(UsageError, match="RandomCrop follows a transform that makes the streams"):
        ShapesDataset(2, 32, pipeline=[{"type": "SplitChannels", "groups": {"a": [0], "b": [1]}}, crop])[0]
    with pytest.raises(UsageError, match="which does not go with several views or streams"):
        Weighted([{"type": "TwoCrops", "size": 16}])[0]


PIPELINE = {
    "torchvision": [
        {"type": V2 + "RandomAffine", "degrees": 20, "scale": [0.7, 1.3]},
        {"type": V2 + "RandomHorizontalFlip"},
        {"type": V2 + "RandomCrop", "size": [24, 24]},
    ],
    "albumentations": [
        {"type": ALB + "Affine", "rotate": (-20, 20), "p": 1.0},
        {"type": ALB + "HorizontalFlip"},
        {"type": ALB + "RandomCrop", "height": 24, "width": 24},
    ],
    "kornia": [
        {"type": KOR + "RandomAffine", "degrees": 20.0, "p": 1.0},
        {"type": KOR + "RandomHorizontalFlip"},
        {"type": KOR + "RandomCrop", "size": (24, 24)},
    ],
}


@pytest.mark.parametrize("library", PIPELINE)
@pytest.mark.parametrize("kind", [ShapesDataset, ShapesSegmentation, ObjectShapesDataset])
def test_samples_are_functions_of_their_keys(library, kind):
    pytest.importorskip(library)
    dataset, again = (kind(4, 32, pipeline=PIPELINE[library]) for _ in range(2))
    keys = [SampleKey(i % 4, 100 + i) for i in range(8)]
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first = [dataset[key] for key in keys]
    assert random.getstate() == states[0] and np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    other = [again[key] for key in reversed(keys)][::-1]
    for one, two in zip(first, other, strict=True):
        assert one["inputs"].shape == (3, 24, 24) and type(one["inputs"]) is torch.Tensor
        assert same(one, two)
    assert len({one["inputs"].numpy().tobytes() for one in first}) == 8


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, Objects):
        return same(vars(one), vars(other))
    return all(same(one[k], other[k]) for k in one) if isinstance(one, dict) else one == other


@pytest.mark.parametrize("library", PIPELINE)
def test_workers_draw_the_same(library):
    pytest.importorskip(library)
    dataset = ObjectShapesDataset(4, 32, pipeline=PIPELINE[library])
    keys = [SampleKey(i, 50 + i) for i in range(4)]
    loader = DataLoader(dataset, 2, sampler=keys, num_workers=1, collate_fn=collate_objects)
    for number, batch in enumerate(loader):
        here = collate_objects([dataset[key] for key in keys[2 * number : 2 * number + 2]])
        assert torch.equal(batch["inputs"], here["inputs"]) and same(batch["targets"][0], here["targets"][0])


@pytest.mark.parametrize(
    ("step", "dataset", "reason"),
    [
        ({"type": V2 + "FiveCrop", "size": 8}, ShapesDataset, "FiveCrop gives a tuple and no image"),
        ({"type": V2 + "FiveCrop", "size": 8}, ShapesSegmentation, r"FiveCrop cannot change this sample \(TypeError"),
        ({"type": V2 + "AutoAugment"}, ObjectShapesDataset, "AutoAugment cannot change this sample"),
        (v2.ToDtype(torch.float32, scale=True), ShapesDataset, "turned 3 channels of uint8 into 3 of float32"),
        (v2.Grayscale(), ShapesSegmentation, "turned 3 channels of uint8 into 1 of uint8"),
        ({"type": ALB + "Normalize"}, ShapesDataset, "turned 3 channels of uint8 into 3 of float32"),
        ({"type": KOR + "RandomThinPlateSpline", "p": 1.0}, ShapesSegmentation, "RandomThinPlateSpline cannot change"),
    ],
    ids=["five", "five dense", "auto", "float", "grey", "normalise", "warp"],
)
def test_what_a_transform_cannot_do_is_one_sentence(step, dataset, reason):
    if isinstance(step, dict):
        pytest.importorskip(step["type"].split(".")[0])
    with pytest.raises(UsageError, match=reason):
        dataset(2, 32, pipeline=[step])[0]


def test_what_is_known_before_is_refused_before():
    kornia = pytest.importorskip("kornia.augmentation")
    with pytest.raises(UsageError, match="RandomMixUpV2 mixes the images of a batch"):
        build_transform(kornia.RandomMixUpV2())
    with pytest.raises(UsageError, match="Leave Normalize out of the pipeline"):
        build_transform({"type": KOR + "Normalize", "mean": (0.5,), "std": (0.5,)})
    warp = build_transform(kornia.RandomElasticTransform(p=1.0))
    assert len(warp(objects())["labels"]) == 3  # masks say where the boxes are
    with pytest.raises(UsageError, match="RandomElasticTransform of Kornia moves no boxes"):
        warp(objects(masks=False))


class OldMaps:
    """A transform of 0.1 for images and classes."""

    takes_truth = True

    def __call__(self, sample):
        return {"inputs": sample["inputs"].flip(-1), "semantic": sample["semantic"].flip(-1)}


class OldObjects:
    """A transform of 0.1 for pictures with objects."""

    takes_objects = True

    def __call__(self, picture):
        assert type(picture.image) is torch.Tensor
        return Picture(picture.image.flip(-2), Objects(picture.objects.boxes * 0, picture.objects.labels, None), (1, 2))


class OldCrop:
    """A transform of 0.1 that takes photographs that are not decoded."""

    takes_encoded = True

    def __call__(self, image):
        return image[:, :8, :8]


def test_transforms_of_0_1_go_on():
    plain_one, flipped = ShapesSegmentation(2, 32), ShapesSegmentation(2, 32, pipeline=[OldMaps()])
    assert torch.equal(flipped[0]["semantic"], plain_one[0]["semantic"].flip(-1))
    sample = ObjectShapesDataset(2, 32, pipeline=[OldObjects()])[0]
    assert (
        sample["content"].tolist() == [1, 2] and sample["objects"].masks is None and not sample["objects"].boxes.any()
    )
    assert ShapesDataset(2, 32, pipeline=[OldCrop()])[0]["inputs"].shape == (3, 8, 8)
    for kind, transform in ((ObjectShapesDataset, OldMaps()), (ShapesSegmentation, OldObjects())):
        with pytest.raises(UsageError, match=f"{type(transform).__name__} does not move"):
            kind(2, 32, pipeline=[transform])


class Arrays(DenseDataset):
    """Classes and weights that are the channels of the image; 9 counts nothing."""

    ignore_index = 9

    def __len__(self):
        return 1

    def load(self, index):
        sample = dense()
        return {name: plain(value) for name, value in sample.items()}


class Weighted(ImageDataset):
    def __len__(self):
        return 1

    def load(self, index):
        image = plain(dense()["inputs"])
        return {"inputs": image, "weight": image[1] == 200}


@pytest.mark.parametrize(
    "name", ["RandomResizedCrop", "SingleDrawCrop", "Resize", "ResizeCenterCrop", "ResizeRandomCrop"]
)
def test_crops_of_images_move_truth_too(name):
    flip = {"type": "RandomHorizontalFlip"}
    for key in range(6):
        sample = Arrays([{"type": name, "size": (20, 30)}, flip])[SampleKey(0, key)]
        image, semantic = sample["inputs"][0].float(), sample["semantic"].float()
        assert semantic.shape == (20, 30) and ((image - semantic).abs() <= 1).float().mean() > 0.75  # edges are smooth
        assert ((sample["inputs"][1] > 100).float() == sample["weight"]).float().mean() > 0.9
        weighted = Weighted([{"type": name, "size": (20, 30)}, flip])[SampleKey(0, key)]
        assert torch.equal(weighted["inputs"], sample["inputs"]) and torch.equal(weighted["weight"], sample["weight"])
    if name != "ResizeRandomCrop":
        sample = ObjectShapesDataset(2, 32, pipeline=[{"type": name, "size": 24}, flip])[1]
        assert torch.equal(sample["objects"].boxes, boxes_of(sample["objects"].masks))
        assert sample["content"].tolist() == [24, 24]
    else:
        with pytest.raises(UsageError, match="ResizeRandomCrop does not move boxes and masks with the image"):
            ObjectShapesDataset(2, 32, pipeline=[{"type": name, "size": 24}])


def test_a_weight_is_a_channel_to_a_function_of_images():
    seen = []
    sample = Weighted([lambda image: seen.append(image.shape) or image.flip(-1)])[0]
    assert seen == [(4, *SIZE)]
    assert torch.equal(sample["weight"], (sample["inputs"][1] == 200).float())


def test_a_weight_beside_objects_is_moved_or_refused():
    class Both(ObjectShapesDataset):
        def load(self, index):
            sample = super().load(index)
            return {**sample, "weight": sample["inputs"][0] > 99}

    for flip in (
        {"type": "FlipObjects", "p": 1.0},
        v2.RandomHorizontalFlip(1.0),
        {"type": "mmcv.RandomFlip", "prob": 1.0},
    ):
        sample = Both(1, 32, pipeline=[flip])[0]
        assert torch.equal(sample["weight"], (sample["inputs"][0] > 99).float())
        assert torch.equal(sample["objects"].masks, ObjectShapesDataset(1, 32)[0]["objects"].masks.flip(-1))
    with pytest.raises(UsageError, match="LargeScaleJitter does not move classes and weights of the pixels"):
        Both(1, 32, pipeline=[{"type": "LargeScaleJitter", "size": 32}])[0]


def test_what_is_uncovered_is_the_class_that_counts_nothing():
    sample = Arrays([{"type": V2 + "Pad", "padding": 2}, {"type": "mmcv.Pad", "size": (70, 60)}])[0]
    assert (sample["semantic"][:2] == 9).all() and (sample["semantic"][50:] == 9).all()
    assert not sample["weight"][50:].any()


def test_samples_are_tv_tensors_inside_and_tensors_outside():
    seen = []

    class Seen(v2.Transform):
        def transform(self, value, params):
            seen.append(type(value))
            return value

    for dataset in (ObjectShapesDataset(1, 32, pipeline=[Seen()]), Arrays([Seen()])):
        sample = dataset[0]
        assert {type(value) for value in sample.values() if isinstance(value, torch.Tensor)} == {torch.Tensor}
    assert {tv_tensors.Image, tv_tensors.Mask, tv_tensors.BoundingBoxes} <= set(seen)


@pytest.mark.parametrize("kind", [ShapesDataset, ShapesSegmentation, ObjectShapesDataset])
def test_one_flip_under_all_names_is_torchvisions(kind):
    flips = [
        v2.RandomHorizontalFlip(0.3),
        *({"type": n, "p": 0.3} for n in ("RandomHorizontalFlip", "RandomFlip", "FlipObjects")),
    ]
    first, *others = (kind(1, 32, pipeline=[flip]) for flip in flips)
    results = [first[SampleKey(0, key)] for key in range(20)]
    assert 2 <= sum(not torch.equal(each["inputs"], results[0]["inputs"]) for each in results) <= 18
    for other in others:
        assert all(same(one, other[SampleKey(0, key)]) for key, one in enumerate(results))


def test_nothing_is_imported_that_no_pipeline_names():
    code = """
import sys
from maetool.data import RandomHorizontalFlip, RandomResizedCrop, ShapesDataset
ShapesDataset(2, 32, pipeline=[RandomResizedCrop(16), RandomHorizontalFlip(), dict(type="RandomHorizontalFlip")])[0]
print([name for name in ("torchvision", "timm") if name in sys.modules])
import maetool.engine, maetool.models
libraries = ("albumentations", "kornia", "mmcv")
print([name for name in libraries if name in sys.modules])
class Absent:
    def find_spec(name, path=None, target=None):
        if name in libraries:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent)
for name in ("albumentations.HorizontalFlip", "kornia.augmentation.RandomCrop", "mmcv.Resize"):
    try:
        ShapesDataset(2, 32, pipeline=[dict(type=name)])
    except ValueError as error:
        print(error)
"""
    printed = run_warm(["-c", code], ".", bare=True).stdout
    assert printed.startswith("[]\n[]\n")
    for name in ("albumentations", "kornia", "mmcv"):
        assert f"There is no transform called `{name}." in printed
        assert f'install it by `pip install "maetool[{name}]"`' in printed


@pytest.fixture
def stand_ins(monkeypatch):
    """Packages with as much of Albumentations and Kornia as their adapters touch, so that these are always tested."""

    def package(name, **content):
        module = ModuleType(name)
        for key, value in content.items():
            if isinstance(value, type):
                value.__module__ = name
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    class BasicTransform:
        available_keys = ("image", "mask", "masks", "bboxes")

        def set_random_seed(self, seed):
            self.seed = seed

    class Flip(BasicTransform):
        def __call__(self, **given):
            if self.seed % 2:
                return given
            width = given["image"].shape[1]
            moved = {key: given[key][..., ::-1] for key in ("mask", "masks", "inside", "weight") if key in given}
            boxes = {"bboxes": [(width - x2, y1, width - x1, y2) for x1, y1, x2, y2 in given.get("bboxes", ())]}
            return {**given, "image": given["image"][:, ::-1], **moved, **boxes}

    class Compose:
        def __init__(self, transforms, additional_targets, bbox_params=None):
            self.transforms, self.bbox_params = transforms, bbox_params

        def set_random_seed(self, seed):
            self.transforms[0].set_random_seed(seed)

        def __call__(self, **given):
            assert self.bbox_params is None or {"bboxes", "places"} <= given.keys()
            return self.transforms[0](**given)

    class MapsOnly(Flip):
        available_keys = ("image", "mask")

    package("albumentations.core.transforms_interface", BasicTransform=BasicTransform)
    package("albumentations", Compose=Compose, BboxParams=lambda form, **options: options, Flip=Flip, MapsOnly=MapsOnly)

    class _BasicAugmentationBase(torch.nn.Module):
        def forward(self, image):
            return image.flip(-1) if torch.rand(()) < 0.5 else image

    class KorniaFlip(_BasicAugmentationBase):
        pass

    class AugmentationSequential(torch.nn.Sequential):
        def __init__(self, transform, data_keys, extra_args):
            super().__init__(transform)
            assert extra_args == {"MASK": {"resample": "NEAREST"}}  # all else as the image

        def forward(self, image, mask, *boxes, data_keys):
            flips = torch.rand(()) < 0.5
            width = image.shape[-1]
            # Kornia counts from the centre of the first pixel.
            turned = [
                torch.stack([width - 1 - b[..., 2], b[..., 1], width - 1 - b[..., 0], b[..., 3]], -1) for b in boxes
            ]
            return (image.flip(-1), mask.flip(-1), *turned) if flips else (image, mask, *boxes)

    package("kornia.augmentation.base", _BasicAugmentationBase=_BasicAugmentationBase)
    package("kornia.augmentation", KorniaFlip=KorniaFlip, AugmentationSequential=AugmentationSequential)
    names = {"DataKey": SimpleNamespace(MASK="MASK"), "Resample": SimpleNamespace(NEAREST="NEAREST")}
    package("kornia.constants", **names)
    return Flip, KorniaFlip, MapsOnly


@pytest.mark.parametrize("number", [0, 1], ids=["albumentations", "kornia"])
def test_adapters_hand_over_and_take_back(stand_ins, number):
    flip = stand_ins[number]()
    for kind in (ShapesDataset, ShapesSegmentation, ObjectShapesDataset):
        before, after = kind(1, (32, 48)), kind(1, (32, 48), pipeline=[flip])
        turned = set()
        for key in range(12):
            one, other = before[SampleKey(0, key)], after[SampleKey(0, key)]
            mirrored = not torch.equal(one["inputs"], other["inputs"])
            turned.add(mirrored)
            flips = [lambda value: value.flip(-1)] if mirrored else [lambda value: value]
            for name in {"inputs", "semantic"} & one.keys():
                assert torch.equal(flips[0](one[name]), other[name])
            if "objects" in one:
                assert torch.equal(flips[0](one["objects"].masks), other["objects"].masks)
                assert torch.equal(other["objects"].boxes, boxes_of(other["objects"].masks))
            assert same(other, after[SampleKey(0, key)])
        assert turned == {True, False}
    boxes = ObjectShapesDataset(1, (32, 48), pipeline=[flip], with_masks=False)
    for key in range(6):
        with_masks = ObjectShapesDataset(1, (32, 48), pipeline=[flip])[SampleKey(0, key)]
        torch.testing.assert_close(boxes[SampleKey(0, key)]["objects"].boxes, with_masks["objects"].boxes)


def test_one_that_knows_no_boxes_is_refused_where_there_are_some(stand_ins):
    ShapesSegmentation(1, 32, pipeline=[stand_ins[2]()])
    with pytest.raises(UsageError, match="MapsOnly does not move boxes and masks with the image"):
        ObjectShapesDataset(1, 32, pipeline=[stand_ins[2]()])
