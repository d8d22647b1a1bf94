import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate

import maetool.data.transforms.crops  # noqa: F401  registers the transforms by name
from maetool.data.datasets.broken_files import BrokenFiles
from maetool.data.datasets.image_folder import ImageFolderDataset
from maetool.data.keys import SampleKey
from maetool.errors import UsageError
from maetool.registry import DATASETS


def make(root, count, broken=(), classes=("",)):
    """Write `count` images, image i of the grey value i modulo 256; those in `broken` are text."""
    for i in range(count):
        path = root / classes[i % len(classes)] / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i in broken:
            path.write_text("not an image")
        else:
            Image.fromarray(np.full((8, 10, 3), i % 256, np.uint8)).save(path)
    return root


@pytest.fixture
def build(tmp_path):
    def build(root, **options):
        return ImageFolderDataset(root, index_cache=tmp_path / "cache", **options)

    return build


@pytest.fixture
def log():
    return logging.getLogger("maetool.test")


def test_sample(tmp_path, build):
    dataset = build(make(tmp_path / "set", 4))
    sample = dataset[2]
    assert sorted(sample) == ["index", "inputs", "key", "skipped"]
    assert torch.equal(sample["inputs"], torch.full((3, 8, 10), 2, dtype=torch.uint8))
    assert sample["skipped"] == ""
    assert len(dataset) == 4


def test_built_from_a_config(tmp_path):
    cfg = {
        "type": "ImageFolderDataset",
        "root": str(make(tmp_path / "set", 3)),
        "index_cache": str(tmp_path),
        "pipeline": [{"type": "RandomResizedCrop", "size": 16}, {"type": "RandomHorizontalFlip"}],
    }
    assert DATASETS.build(cfg)[0]["inputs"].shape == (3, 16, 16)


def test_one_channel(tmp_path, build):
    assert build(make(tmp_path / "set", 3), in_chans=1)[1]["inputs"].shape == (1, 8, 10)


def test_labels_are_the_first_folder(tmp_path, build):
    root = make(tmp_path / "set", 9, classes=("dog/big", "ant", "cat/a/b"))
    dataset = build(root, with_labels=True)
    assert dataset.classes == ["ant", "cat", "dog"]
    assert dataset.metainfo == {"classes": ("ant", "cat", "dog")}
    for sample in (dataset[i] for i in range(9)):
        folder = ("dog", "ant", "cat")[int(sample["inputs"][0, 0, 0]) % 3]
        assert dataset.classes[sample["label"]] == folder
    assert build(root, with_labels=True, limit=2).classes == ["ant", "cat", "dog"]


def test_labels_of_a_list_with_absolute_paths(tmp_path, build):
    root = make(tmp_path / "set", 4, classes=("b", "a"))
    (root / "files.txt").write_text("".join(f"{path}\n" for path in sorted(root.rglob("*.png"))))
    dataset = build(root / "files.txt", with_labels=True)
    assert [dataset[i]["label"] for i in range(4)] == [0, 0, 1, 1]


def test_labels_that_cannot_be_told(tmp_path, build):
    with pytest.raises(UsageError, match="has no class"):
        build(make(tmp_path / "flat", 3), with_labels=True)
    with pytest.raises(UsageError, match="only the class `one`: labels are read from a folder for each of two"):
        build(make(tmp_path / "single", 3, classes=("one",)), with_labels=True)


def test_limit_is_evenly_spaced(tmp_path, build):
    root = make(tmp_path / "set", 10)
    dataset = build(root, limit=4)
    assert [int(dataset[i]["inputs"][0, 0, 0]) for i in range(len(dataset))] == [0, 2, 5, 7]
    assert len(build(root, limit=99)) == 10


@pytest.mark.parametrize("options", [{"limit": 0}, {"max_broken": 1.5}, {"in_chans": 0}])
def test_nonsense_arguments(tmp_path, build, options):
    with pytest.raises(UsageError, match=next(iter(options))):
        build(make(tmp_path / "set", 2), **options)


def test_a_broken_file_is_replaced_by_the_next_and_named(tmp_path, build):
    root = make(tmp_path / "set", 6, broken=(2, 3, 5), classes=("a", "b"))  # order: a 0 2 4, b 1 3 5
    dataset = build(root, with_labels=True, max_broken=0.6)
    sample = dataset[1]
    assert sample["inputs"][0, 0, 0] == 4
    assert sample["label"] == 0
    assert sample["skipped"] == f"{root}/a/0002.png: not an image of a known format"
    sample = dataset[4]  # both files after it wrap around to the first
    assert sample["inputs"][0, 0, 0] == 0
    assert sample["label"] == 0
    assert [line.split(":")[0][-8:] for line in sample["skipped"].split("\n")] == ["0003.png", "0005.png"]


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_files_are_counted_and_named_once(tmp_path, build, caplog, log, workers):
    dataset = build(make(tmp_path / "set", 40, broken=(7, 8, 30)))
    broken = BrokenFiles(0.1, log, len(dataset))
    loader = DataLoader(dataset, batch_size=8, num_workers=workers, collate_fn=default_collate)
    for _ in range(2):
        for batch in loader:
            broken.update(batch["skipped"], len(batch["inputs"]))
    assert broken.seen == 80
    assert [line.split(":")[0][-8:] for line in broken.files] == ["0007.png", "0008.png", "0030.png"]
    assert [record.getMessage().count("0007.png") for record in caplog.records] == [1, 0, 0]
    assert "6 of 80 samples" in broken.summary()


def test_too_many_broken_files_end_the_run(log):
    broken = BrokenFiles(0.1, log, 1_000_000)
    for step in range(19):
        broken.update([f"file_{step}.jpg: cut", f"other_{step}.jpg: cut", *[""] * 8], 10)
    with pytest.raises(UsageError, match=r"40 of 200 samples .* file_0.jpg: cut; other_0.jpg: cut"):
        broken.update(["a: cut", "b: cut", *[""] * 8], 10)


def test_a_small_set_is_judged_after_one_epoch(log):
    with pytest.raises(UsageError, match=r"max_broken=0\.1"):
        BrokenFiles(0.1, log, 20).update(["a: cut", "b: cut", "c: cut"] + [""] * 17, 20)
    BrokenFiles(0.1, log, 21).update(["a: cut", "b: cut", "c: cut"] + [""] * 17, 20)


def test_one_broken_file_is_no_share(log):
    broken = BrokenFiles(0.1, log, 8)
    for _ in range(3):  # in each epoch
        broken.update(["a: cut"] + [""] * 7, 8)
    with pytest.raises(UsageError, match=r"max_broken=0\.1"):
        broken.update(["a: cut", "b: cut"] + [""] * 6, 8)
    with pytest.raises(UsageError, match="max_broken=0 "):
        BrokenFiles(0.0, log, 8).update(["a: cut"] + [""] * 7, 8)
    with pytest.raises(UsageError, match="1 of 2 samples"):
        BrokenFiles(0.1, log, 2).update(["a: cut", ""], 2)


@pytest.mark.parametrize(("total", "max_broken", "broken"), [(8, 0.1, 1), (3, 0.1, 1), (8, 0.5, 4)])
def test_a_small_folder_with_a_broken_link(tmp_path, total, max_broken, broken):
    for number in range(total):
        path = tmp_path / f"{number}.png"
        if number < broken:
            path.symlink_to(tmp_path / "nowhere")
        else:
            Image.new("RGB", (8, 8)).save(path)
    assert "no such file" in ImageFolderDataset(tmp_path, max_broken=max_broken)[0]["skipped"]
    (tmp_path / f"{total - 1}.png").write_text("cut")
    with pytest.raises(UsageError, match=f"{broken + 1} of {total} files that were tried"):
        ImageFolderDataset(tmp_path, max_broken=max_broken)
    (tmp_path / f"{total - 1}.png").unlink()
    with pytest.raises(UsageError, match="max_broken=0 allows"):
        ImageFolderDataset(tmp_path, max_broken=0.0)


def test_a_cluster_of_broken_files_is_not_taken_for_a_large_share(log):
    broken = BrokenFiles(0.1, log)
    broken.update(["\n".join(f"{i}.jpg: cut" for i in range(90))] + [""] * 299, 300)
    assert len(broken.files) == 90
    assert BrokenFiles(0.1, log).summary() == "No broken file in 0 samples."


def test_too_many_broken_files_show_at_the_start(tmp_path, build):
    root = make(tmp_path / "set", 20, broken=(3, 4, 5))
    with pytest.raises(UsageError, match="3 of 20 files") as caught:
        build(root)
    assert str(caught.value).count("not an image") == 3
    assert build(root, max_broken=0.15)[0]["skipped"] == ""
    with pytest.raises(UsageError, match="max_broken=0 "):
        build(make(tmp_path / "other", 20, broken=(3,)), max_broken=0)


def test_bad_luck_in_the_first_probe_is_checked_with_more_files(tmp_path, build):
    root = make(tmp_path / "set", 320, broken=range(0, 50, 10))  # five of the 32 first tried
    assert len(build(root)) == 320


def test_wrong_channels_show_at_the_start(tmp_path, build):
    with pytest.raises(UsageError, match="set in_chans"):
        build(make(tmp_path / "set", 4), in_chans=5)


def test_only_broken_files(tmp_path, build):
    dataset = build(make(tmp_path / "few", 5, broken=range(5)), max_broken=1)
    with pytest.raises(UsageError, match="5 files in a row"):
        dataset[3]
    dataset = build(make(tmp_path / "many", 140, broken=range(20, 130)), max_broken=1)
    with pytest.raises(UsageError, match="100 files in a row"):
        dataset[20]
    assert dataset[31]["inputs"][0, 0, 0] == 130


def test_the_key_alone_decides_the_augmentation(tmp_path, build):
    root = tmp_path / "set"
    root.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(noise).save(root / name)
    pipeline = [{"type": "RandomResizedCrop", "size": 16}, {"type": "RandomHorizontalFlip"}]
    dataset, again = (build(root, pipeline=pipeline) for _ in range(2))
    first = dataset[SampleKey(0, 5)]["inputs"]
    dataset[1]
    assert torch.equal(dataset[SampleKey(0, 5)]["inputs"], first)
    assert torch.equal(again[SampleKey(1, 5)]["inputs"], first)
    assert not torch.equal(dataset[SampleKey(0, 6)]["inputs"], first)
    assert not torch.equal(build(root, pipeline=pipeline, seed=1)[0]["inputs"], dataset[0]["inputs"])


def test_pixels_without_data_have_no_weight_and_ride_along_with_the_crops(tmp_path):
    image = np.full((40, 64, 5), 7, np.float32)
    image[:, :30] = -9999
    image[0, 0] = (-9999, 1, 1, 1, 1)  # one channel holds data
    np.save(tmp_path / "a.npy", image)
    crop = [{"type": "RandomResizedCrop", "size": (16, 16)}, {"type": "RandomHorizontalFlip"}]
    plain = ImageFolderDataset(tmp_path, in_chans=5, nodata=-9999, index_cache=tmp_path / "cache")
    sample = plain[0]
    assert sample["weight"].shape == (40, 64)
    assert sample["weight"].sum() == 40 * 34 + 1
    assert sample["inputs"][1:].max() <= 7
    assert sample["inputs"][1:, 5:, 5:].min() > 6.9  # the mean of the data, not -9999
    assert "weight" not in ImageFolderDataset(tmp_path, in_chans=5, index_cache=tmp_path / "cache")[0]
    image[:, 30:] = np.arange(34, dtype=np.float32)[None, :, None] ** 2 + 100
    image[:, :30] = -9999
    np.save(tmp_path / "a.npy", image)
    data = ImageFolderDataset(tmp_path, in_chans=5, nodata=-9999, pipeline=crop, index_cache=tmp_path / "cache")
    mean = image[0, 30:, 0].mean()
    sides = set()
    for epoch in range(20):
        sample = data[data.key_of(0, epoch)]
        picture, weight = sample["inputs"][4], sample["weight"]
        assert picture.shape == weight.shape == (16, 16)
        assert set(weight.unique().tolist()) <= {0.0, 1.0}
        inside = -torch.nn.functional.max_pool2d(-(1 - weight)[None], 7, stride=1, padding=3)[0]  # far from the edge
        if inside.any():
            assert (picture[inside == 1] - mean).abs().max() < 1
        if 0 < weight.mean() < 1:
            assert (picture[weight == 1] - mean).abs().max() > 20
            sides.add("right" if weight[:, -1].mean() > weight[:, 0].mean() else "left")
    assert sides == {"left", "right"}  # flips take the weight along


def test_images_of_both_types_stack(tmp_path):
    for i in range(6):
        values = np.full((8, 8, 3), i, np.uint8 if i % 2 else np.uint16)
        np.save(tmp_path / f"{i}.npy", values)
    data = ImageFolderDataset(tmp_path, index_cache=tmp_path / "cache")
    batch = default_collate([data[i] for i in range(6)])
    assert batch["inputs"].dtype is torch.float32
    assert batch["inputs"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_late_file_of_another_type_is_passed_over_with_its_reason(tmp_path):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", np.full((8, 8, 3), i, np.uint8))
    data = ImageFolderDataset(tmp_path, index_cache=tmp_path / "cache")
    np.save(tmp_path / "2.npy", np.full((8, 8, 3), 2.5, np.float32))
    sample = data[2]
    assert sample["inputs"].dtype is torch.uint8
    assert "2.npy: it holds other than 8-bit values" in sample["skipped"]
