"""Classes of pixels: read from folders, drawn, written and read back, cropped and mirrored with their image."""

import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.config.load import load_config
from maetool.data import (
    ClassBalancedCrop,
    FitSize,
    ImageFolderDataset,
    PhotometricDistortion,
    RandomFlip,
    RandomScale,
    SegmentationDataset,
    ShapesDataset,
    ShapesSegmentation,
)
from maetool.data.datasets.broken_files import BrokenFiles
from maetool.data.drawn.layouts import write_shapes
from maetool.data.keys import keyed_rng
from maetool.errors import UsageError
from maetool.registry import DATASETS

PLACES = {"images": "pictures", "annotations": "truth"}


@pytest.fixture
def folder(tmp_path):
    """Two images of 6 x 8 pixels with classes 0 to 2, in folders two deep."""
    for number in range(2):
        for place in PLACES.values():
            (tmp_path / place / "town").mkdir(parents=True, exist_ok=True)
        image = np.full((6, 8, 3), 40 * number, np.uint8)
        Image.fromarray(image).save(tmp_path / f"pictures/town/{number}.jpg")
        truth = np.zeros((6, 8), np.uint8)
        truth[:, 4:], truth[0] = 2, 255
        Image.fromarray(truth).save(tmp_path / f"truth/town/{number}.png")
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    return tmp_path


def overwrite(folder, values, number=1):
    Image.fromarray(values).save(folder / f"truth/town/{number}.png")


def test_images_with_the_classes_of_their_pixels(folder):
    dataset = SegmentationDataset(folder, **PLACES)
    assert dataset.classes == ["sky", "road", "car"]
    assert [dataset.name_of(i) for i in range(len(dataset))] == ["town/0", "town/1"]
    sample = dataset[1]
    assert sample["inputs"].shape == (3, 6, 8)
    assert (sample["inputs"] == 40).all()
    assert sample["semantic"].dtype == torch.int64
    assert sample["semantic"][0].tolist() == [255] * 8
    assert sample["semantic"][3].tolist() == [0] * 4 + [2] * 4
    assert dataset.describe() == (
        "2 images whose pixels are of 3 classes. Pixels in the 2 masks: sky 41.7%, car 41.7%, road 0.0%; "
        "16.7% are ignored."
    )


def test_zero_may_count_nothing(folder):
    sample = SegmentationDataset(folder, **PLACES, zero_is_ignored=True)[0]
    assert sample["semantic"][3].tolist() == [255] * 4 + [1] * 4
    assert sample["semantic"][0].tolist() == [255] * 8


def test_a_png_with_a_palette_gives_its_numbers(folder):
    picture = Image.fromarray(np.eye(6, 8, dtype=np.uint8)).convert("P")
    picture.putpalette([200, 0, 0, 0, 200, 0])
    picture.save(folder / "truth/town/0.png")
    assert SegmentationDataset(folder, **PLACES)[0]["semantic"].sum() == 6


def test_a_list_of_names_chooses(folder):
    (folder / "val.txt").write_text("town/1\n")
    (folder / "truth/town/0.png").unlink()
    assert SegmentationDataset(folder, **PLACES, names="val.txt").names == ["town/1"]


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ("truth/town/1.png", "1 of 2 names have no PNG of classes .first `town/1`.*: add it, remove the image"),
        ("pictures/town/0.jpg", "1 of 2 names have no image .first `town/0`.*: add it, remove the PNG"),
        ("classes.txt", "classes.txt does not exist, but the names of two"),
    ],
)
def test_what_is_missing_is_named(folder, removed, said):
    (folder / removed).unlink()
    with pytest.raises(UsageError, match=said):
        SegmentationDataset(folder, **PLACES)


def test_a_class_beyond_the_list_is_named(folder):
    overwrite(folder, np.full((6, 8), 3, np.uint8))
    with pytest.raises(UsageError, match=r"town/1.png holds the class 3, but the 3 classes are numbered from 0 to 2"):
        SegmentationDataset(folder, **PLACES)[1]


def test_an_image_and_its_classes_share_a_name_and_a_size(folder):
    for values, reason in (
        (np.zeros((8, 6), np.uint8), "it has 8x6 pixels, but its image .*pictures/town/1.jpg has 6x8"),
        (np.zeros((6, 8, 3), np.uint8), "it is a picture of mode RGB"),
    ):
        overwrite(folder, values)
        with pytest.raises(UsageError, match=rf"1 of 2 files that were tried .*town/1.png: {reason}"):
            SegmentationDataset(folder, **PLACES)


def test_classes_counted_from_one_are_named_as_the_file_has_them(folder):
    overwrite(folder, np.full((6, 8), 4, np.uint8))
    with pytest.raises(UsageError, match="holds the class 4, but the 3 classes are numbered from 1 to 3"):
        SegmentationDataset(folder, **PLACES, zero_is_ignored=True)[1]


DAMAGED = ["pictures/town/1.jpg", "truth/town/1.png"]


def damage(folder, name, kind):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes({"cut": data[:40], "empty": b"", "text": b"not an image"}[kind])


@pytest.mark.parametrize("kind", ["cut", "empty", "text"])
@pytest.mark.parametrize("name", DAMAGED)
def test_too_many_damaged_files_are_named_at_the_start(folder, name, kind):
    damage(folder, name, kind)
    with pytest.raises(UsageError, match=rf"1 of 2 files that were tried .* max_broken=0.1 allows: .*{name}: "):
        SegmentationDataset(folder, **PLACES)


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "size"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_passed_over_and_counted(folder, name, kind):
    if kind == "size":
        overwrite(folder, np.zeros((8, 6), np.uint8))
        name = "truth/town/1.png"
    else:
        damage(folder, name, kind)
    dataset = SegmentationDataset(folder, **PLACES, max_broken=0.5, pipeline=[{"type": "RandomFlip", "p": 0.0}])
    good, replaced = dataset[0], dataset[1]
    assert good["skipped"] == ""
    assert replaced["skipped"].startswith(str(folder / name) + ": ")
    assert torch.equal(replaced["semantic"], good["semantic"])
    assert torch.equal(replaced["inputs"], good["inputs"])
    files = BrokenFiles(dataset.max_broken, logging.getLogger(), len(dataset))
    files.update([good["skipped"], replaced["skipped"]], 2)
    assert list(files.files) == [replaced["skipped"]]
    with pytest.raises(UsageError, match=r"1 of 2 samples met a broken file .* max_broken=0.1 allows"):
        BrokenFiles(0.1, logging.getLogger(), 2).update([good["skipped"], replaced["skipped"]], 2)


def test_a_limit_is_spaced_evenly(folder):
    for number in range(2, 10):
        for place, ending in zip(PLACES.values(), (".jpg", ".png"), strict=True):
            shutil.copy(folder / f"{place}/town/0{ending}", folder / f"{place}/town/{number}{ending}")
    expected = ["town/0", "town/3", "town/6"]
    dataset = SegmentationDataset(folder, **PLACES, limit=3)
    assert dataset.names == expected
    assert [dataset.name_of(i) for i in range(len(dataset))] == expected
    assert [dataset.files.relative(i) for i in range(3)] == [f"{name}.jpg" for name in expected]
    images = ImageFolderDataset(folder / "pictures", limit=3)
    assert [images.name_of(i) for i in range(3)] == [f"{name}.jpg" for name in expected]
    assert len(SegmentationDataset(folder, **PLACES, limit=100)) == 10
    for wrong in (0, -1, 2.5):
        with pytest.raises(UsageError, match=r"limit is .*: give a number of images, at least 1"):
            SegmentationDataset(folder, **PLACES, limit=wrong)


def test_a_loop_over_a_dataset_of_files_ends(folder):
    assert [sample["index"] for sample in SegmentationDataset(folder, **PLACES)] == [0, 1]
    assert len(list(ImageFolderDataset(folder / "pictures"))) == 2
    assert ImageFolderDataset(folder / "pictures")[-1]["inputs"].float().mean() == 40


def test_an_image_where_nothing_counts(folder):
    overwrite(folder, np.full((6, 8), 255, np.uint8))
    assert (SegmentationDataset(folder, **PLACES)[1]["semantic"] == 255).all()


def test_a_transform_of_images_alone_is_refused(folder):
    with pytest.raises(UsageError, match="RandAugment does not move classes and weights of the pixels with the image"):
        SegmentationDataset(folder, **PLACES, pipeline=[{"type": "RandAugment"}])


def test_shapes_are_the_scene(tmp_path):
    dataset, shapes = ShapesSegmentation(3, (32, 48), seed=5), ShapesDataset(3, (32, 48), seed=5)
    for index in range(3):
        sample, again = dataset[index], dataset[index]
        assert torch.equal(sample["inputs"], shapes[index]["inputs"])
        assert sample["semantic"].tolist() == shapes.scene(index).semantic.tolist()
        assert torch.equal(sample["semantic"], again["semantic"])
    assert dataset.classes[:2] == ["background", "disc"]


def test_shapes_written_as_ade20k_and_read_back(tmp_path):
    write_shapes(tmp_path / "out", "ade20k", 3, 2, (32, 48), seed=5)
    read = SegmentationDataset(tmp_path / "out", zero_is_ignored=True)
    drawn = ShapesSegmentation(3, (32, 48), seed=5)
    assert read.classes == drawn.classes
    for ours, theirs in zip(read, drawn, strict=True):
        assert torch.equal(ours["semantic"], theirs["semantic"])
        assert (ours["inputs"].float() - theirs["inputs"].float()).abs().mean() < 3  # JPEG
    val = SegmentationDataset(
        tmp_path / "out", "images/validation", "annotations/validation", zero_is_ignored=True, limit=1
    )
    assert torch.equal(val[0]["semantic"], ShapesSegmentation(1, (32, 48), seed=6)[0]["semantic"])
    with pytest.raises(UsageError, match="not an empty folder"):
        write_shapes(tmp_path / "out", "ade20k", 1, 1, 32)
    with pytest.raises(UsageError, match="must be one of ade20k"):
        write_shapes(tmp_path / "other", "voc", 1, 1, 32)


def marked(height=20, width=30):
    """An image whose first channel is the class of each pixel."""
    semantic = torch.arange(height)[:, None] // 5 + 4 * (torch.arange(width)[None] // 10)
    return {"inputs": semantic.to(torch.uint8).expand(3, -1, -1).clone(), "semantic": semantic}


@pytest.mark.parametrize("transform", [RandomFlip(1.0), ClassBalancedCrop((12, 14)), ClassBalancedCrop((24, 14))])
def test_image_and_classes_stay_together(transform):
    for key in range(5):
        with keyed_rng(key):
            changed = transform(marked())
        counted = changed["semantic"] != 255
        assert counted.any()
        assert torch.equal(changed["inputs"][0][counted].long(), changed["semantic"][counted])


def test_what_is_smaller_than_the_crop_is_filled_up():
    changed = ClassBalancedCrop((24, 32), fill=(1, 2, 3))(marked())
    assert changed["inputs"][:, 20, 0].tolist() == changed["inputs"][:, 0, 30].tolist() == [1, 2, 3]
    assert (changed["semantic"][20:] == 255).all()
    assert (changed["semantic"][:, 30:] == 255).all()
    assert torch.equal(changed["semantic"][:20, :30], marked()["semantic"])


def test_a_crop_of_one_class_is_drawn_again():
    semantic = torch.zeros(16, 400, dtype=torch.int64)
    semantic[:, 150:] = 1
    sample = {"inputs": torch.zeros(3, 16, 400, dtype=torch.uint8), "semantic": semantic}

    def mixed(share):
        found = 0
        for key in range(60):
            with keyed_rng(key):
                classes = ClassBalancedCrop(16, max_share=share)(sample)["semantic"]
            found += 0 < classes.float().mean() < 1 and max(classes.float().mean(), 1 - classes.float().mean()) < 0.75
        return found

    assert mixed(1.0) <= 10  # 8 of 385 places
    assert mixed(0.75) >= 10  # in eleven trials


def test_random_scale_and_fit():
    with keyed_rng(3):
        sizes = {tuple(RandomScale(60, 40, (0.5, 2.0))(marked())["semantic"].shape) for _ in range(40)}
    heights = sorted(height for height, _ in sizes)
    assert 20 <= heights[0] < 30 and 60 < heights[-1] <= 80  # 40 rows at a ratio of 1
    assert all(abs(width / height - 1.5) < 0.1 for height, width in sizes)
    exact = RandomScale(60, 40, (1.0, 1.0))(marked())
    assert torch.equal(exact["semantic"], marked()["semantic"].repeat_interleave(2, 0).repeat_interleave(2, 1))
    fitted = FitSize(45, 40)(marked())
    assert fitted["inputs"].shape == (3, 30, 45)
    assert fitted["semantic"].shape == (20, 30)


def test_distortion_changes_colours_alone_and_is_a_function_of_the_key():
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8, generator=generator)
    sample = {"inputs": image, "semantic": torch.zeros(8, 8, dtype=torch.int64)}
    found = []
    for key in (1, 2, 1, 3, 4, 5):
        with keyed_rng(key):
            found.append(PhotometricDistortion()(sample))
    assert torch.equal(found[0]["inputs"], found[2]["inputs"])
    assert sum(not torch.equal(one["inputs"], image) for one in found) >= 4
    assert all(torch.equal(one["semantic"], sample["semantic"]) for one in found)
    assert all(one["inputs"].dtype == torch.uint8 for one in found)
    still = PhotometricDistortion(0, (1, 1), (1, 1), 0)(sample)["inputs"]
    assert (still.int() - image.int()).abs().max() <= 8  # there and back through 8-bit hue and saturation


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RandomScale(10, 20), "long_side"),
        (lambda: RandomScale(ratio=(2, 1)), "ratio"),
        (lambda: FitSize(0, 0), "long_side"),
        (lambda: ClassBalancedCrop(8, max_share=0), "max_share"),
        (lambda: RandomFlip(2), "p=2"),
        (lambda: ClassBalancedCrop(8, fill=(1,))(marked()), "fills up 1 channels"),
        (lambda: PhotometricDistortion()({"inputs": torch.zeros(1, 4, 4), "semantic": None}), "1x4x4 of float32"),
    ],
)
def test_what_cannot_be_is_named(make, said):
    with pytest.raises(UsageError, match=said):
        make()


@pytest.mark.parametrize(
    ("name", "picture", "truth"),
    [
        ("ade20k", "images/training/a_1.jpg", "annotations/training/a_1.png"),
        (
            "cityscapes",
            "leftImg8bit/train/ulm/ulm_1_leftImg8bit.png",
            "gtFine/train/ulm/ulm_1_gtFine_labelTrainIds.png",
        ),
        ("voc", "JPEGImages/2007_1.jpg", "SegmentationClass/2007_1.png"),
    ],
)
def test_the_layouts_of_known_data_sets(repository, tmp_path, name, picture, truth):
    config = dict(load_config(repository / f"configs/_base_/datasets/{name}.py").train_dataloader.dataset)
    for path in (picture, truth, "gtFine/train/ulm/ulm_1_gtFine_color.png", "JPEGImages/2007_2.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ones((4, 6) if path == truth else (4, 6, 3), np.uint8)).save(tmp_path / path)
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("2007_1\n")
    dataset = DATASETS.build({**config, "root": str(tmp_path), "pipeline": []})
    assert len(dataset) == 1
    assert dataset[0]["semantic"].unique().tolist() == [0 if name == "ade20k" else 1]
    assert len(dataset.classes) == len(set(dataset.classes)) == {"ade20k": 150, "cityscapes": 19, "voc": 21}[name]
    assert ("palette" in dataset.metainfo) == (name == "cityscapes")


def test_a_word_is_no_list_of_classes(tmp_path):
    with pytest.raises(UsageError, match="classes is 'road', a word, but must be a list"):
        SegmentationDataset(tmp_path, classes="road")


@pytest.mark.parametrize("exif", [False, True])
def test_a_mask_in_tiff_is_turned_on_request_only(folder, exif):
    import tifffile

    (folder / "pictures/town/1.jpg").unlink()
    for place, values in (("pictures", np.zeros((6, 8, 3), np.uint8)), ("truth", np.arange(48).reshape(6, 8) % 3)):
        photometric = "rgb" if values.ndim == 3 else "minisblack"
        tag = (274, 3, 1, 6, True)
        tifffile.imwrite(
            folder / place / "town/1.tif", values.astype(np.uint8), photometric=photometric, extratags=[tag]
        )
    (folder / "names.txt").write_text("town/1\n")
    options = {"image_suffix": ".tif", "annotation_suffix": ".tif", "names": "names.txt"}
    sample = SegmentationDataset(folder, **PLACES, **options, exif=exif)[0]
    expected = torch.arange(48).reshape(6, 8) % 3
    assert torch.equal(sample["semantic"], expected.rot90(-1) if exif else expected)
