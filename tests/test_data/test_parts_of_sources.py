"""Parts in archives, databases and at URLs: known by the usual names, never taken for classes."""

import io
import tarfile
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from servers import serving

from maetool.config.layouts.places import places
from maetool.config.load import load_config
from maetool.config.user_data import all_images, use_data
from maetool.data.sources import ArchiveSource, PartSource
from maetool.data.sources.kinds import is_absent, parts_at, source_for
from maetool.data.sources.packed import lmdb_source
from maetool.data.sources.packed.shards import ShardTable, ShardWriter
from maetool.data.sources.part_names import part_in_path, parts_of
from maetool.errors import UsageError
from maetool.registry import DATASETS, SOURCES
from maetool.testing import check_source


def picture(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def pack(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def images(folder="", first=0):
    return {f"{folder}{kind}/{i}.png": picture(first + i) for kind in ("ant", "bee") for i in range(3)}


def samples(first):
    return {
        f"{first + i}.{k}": picture(first + i) if k == "png" else b"01"[i % 2 : i % 2 + 1]
        for i in range(4)
        for k in ("png", "cls")
    }


PARTS = {"train": 0, "val": 10, "test": 20}


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["train-000", "train-001", "val-000"], ["train", "train", "val"]),
        (["imagenet1k-train-0", "imagenet1k-validation-0"], ["train", "val"]),
        (["Training", "TEST"], ["train", "test"]),
        (["train", "train"], ["train", "train"]),
        (["n01", "n02"], None),
        (["train", "bus"], None),
        ([], []),
    ],
)
def test_parts_among_names(names, parts):
    assert parts_of(names) == parts


def test_the_part_in_a_path():
    assert part_in_path("x/train/ant/0.png") == ("train", "x/ant/0.png")
    assert part_in_path("ant/valid/0.png") == ("val", "ant/0.png")
    assert part_in_path("train.png") == (None, "train.png") and part_in_path("ant/0.png") == (None, "ant/0.png")


def one_zip(folder):
    pack(folder / "set.zip", {k: v for part, first in PARTS.items() for k, v in images(f"set/{part}/", first).items()})
    return folder / "set.zip"


def inside_classes(folder):
    members = {
        f"{kind}/{part}/{first}.png": picture(first + i)
        for part, first in PARTS.items()
        for i, kind in enumerate(("ant", "bee"))
    }
    pack(folder / "set.tar", members)
    return folder / "set.tar"


def zip_for_each(folder):
    for part, first in PARTS.items():
        pack(folder / "set" / f"{part}.zip", images("wrapped/", first))
    return folder / "set"


def tar_for_each(folder):
    for part, first in zip(("Training", "valid", "test"), PARTS.values(), strict=True):
        pack(folder / "set" / f"{part}.tar", images("", first))
    return folder / "set"


def numbered_tars(folder):
    for part, first in PARTS.items():
        for n in range(2):
            pack(
                folder / "set" / f"x-{part}-{n:03d}.tar",
                {f"{kind}/{first + n}.png": picture(first + n) for kind in ("ant", "bee")},
            )
    return folder / "set"


def shards_of_webdataset(folder):
    for part, first in PARTS.items():
        for n in range(2):
            pack(folder / "set" / f"imagenet-{part}-{n:04d}.tar", samples(first + 4 * n))
    return folder / "set"


def own_shards(folder):
    with ShardWriter(folder / "set" / "0.tar") as shard:
        for part, first in PARTS.items():
            for name, content in images(f"{part}/", first).items():
                shard.add(name, content)
    ShardTable.of(folder / "set", ["0.tar"]).save()
    return folder / "set"


def lmdb(folder):
    database = pytest.importorskip("lmdb")
    with database.open(str(folder / "lmdb"), map_size=2**24) as opened, opened.begin(write=True) as writer:
        for part, first in PARTS.items():
            for name, content in images(f"{part}/", first).items():
                writer.put(name.encode(), content)
    return folder / "lmdb"


MAKERS = [one_zip, inside_classes, zip_for_each, tar_for_each, numbered_tars, shards_of_webdataset, own_shards, lmdb]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("labelled", [True, False])
def test_parts_are_no_classes(tmp_path, maker, labelled):
    root = maker(tmp_path)
    train, val = places(root, labelled)
    train, val = DATASETS.build(train), DATASETS.build(val)
    seen = [{d.files.read(i)[1] for i in range(len(d))} for d in (train, val)]
    tests = {picture(20 + i) for i in range(8)}
    assert (
        seen[0] <= {picture(i) for i in range(8)}
        and seen[1] <= {picture(10 + i) for i in range(8)}
        and not tests & (seen[0] | seen[1])
    )
    assert val.classes == (["0", "1"] if maker is shards_of_webdataset else ["ant", "bee"])
    assert not labelled or train.classes == val.classes
    check_source(val.files)


def test_without_validation_some_is_held_out(tmp_path):
    for part in ("train", "test"):
        pack(tmp_path / f"{part}.zip", images("", PARTS[part]))
    train, val = places(tmp_path, True)
    assert (train["part"], val["part"]) == ("train", "val") and train["source"]["split"] == val["source"][
        "split"
    ] == "train"


@pytest.mark.parametrize(
    "names", [["train/0.png", "bus/0.png"], ["train/0.png", "train/1.png"], ["val/0.png", "test/0.png"]]
)
def test_what_is_no_set_of_parts(tmp_path, names):
    """A train is a vehicle too."""
    pack(tmp_path / "x.zip", {name: picture(i) for i, name in enumerate(names)})
    assert parts_at(source_for(tmp_path / "x.zip")) == {}
    assert all_images(str(tmp_path / "x.zip"))["source"]["type"] == "ArchiveSource"


def test_a_part_that_is_not_there(tmp_path):
    source = ArchiveSource(one_zip(tmp_path))
    with pytest.raises(UsageError, match="split is 'x', but must be"):
        PartSource(source, "x")
    pack(tmp_path / "y.zip", {f"{part}/0.png": picture(0) for part in ("train", "training", "val")})
    assert len(PartSource(ArchiveSource(tmp_path / "y.zip"), "val")) == 1
    with pytest.raises(UsageError, match="no image in a folder of the part test"):
        PartSource(ArchiveSource(tmp_path / "y.zip"), "test")
    with pytest.raises(UsageError, match="several folders of the part train with the same names"):
        PartSource(ArchiveSource(tmp_path / "y.zip"), "train")


@pytest.fixture
def server(tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    root = zip_for_each(tmp_path)
    content = {f"zips/{path.name}": path.read_bytes() for path in root.iterdir()}
    content |= {f"files/{k}": v for part, first in PARTS.items() for k, v in images(f"{part}/", first).items()}
    with serving(content) as running:
        yield running


@pytest.mark.parametrize("place", ["zips", "files"])
def test_data_takes_urls(server, place):
    url = f"{server.address}/{place}"
    train, val = (DATASETS.build(place) for place in places(url, True))
    assert (len(train), len(val), val.classes) == (6, 6, ["ant", "bee"])
    assert val.files.read(0)[1] == picture(10)
    assert all_images(f"{url}/")["type"] == "SourceDataset"
    with pytest.raises(UsageError, match="which is not read from another machine"):
        places(f"{server.address}/x.csv", True)


@pytest.mark.parametrize(
    "config", ["segmentation/linear_vit-t_shapes.py", "detection/vitdet_mask-rcnn_vit-t_shapes.py"]
)
def test_dense_tasks_read_no_urls(config):
    with pytest.raises(UsageError, match="reads its images from a folder on this machine: download them"):
        use_data(load_config(f"maetool::{config}"), "s3://bucket/set")


URL = "s3://bucket/set"


@pytest.mark.parametrize(
    "dataset",
    [
        {"type": "ImageFolderDataset", "root": URL},
        {"type": "CsvDataset", "csv_file": f"{URL}.csv"},
        {"type": "CsvDataset", "csv_file": "TABLE", "root": URL},
        {"type": "SourceDataset", "source": {"type": "LmdbSource", "root": URL}},
    ],
    ids=str,
)
def test_what_must_be_on_this_machine(tmp_path, monkeypatch, dataset):
    monkeypatch.setattr(lmdb_source, "need", lambda package, user: None)
    (tmp_path / "t.csv").write_text("path,label\n0.png,a\n1.png,b\n")
    dataset = {key: str(tmp_path / "t.csv") if value == "TABLE" else value for key, value in dataset.items()}
    with pytest.raises(UsageError, match=r"is s3://bucket/set.*, but must be on this machine"):
        DATASETS.build(dataset)


def test_what_is_absent(tmp_path):
    assert is_absent(tmp_path / "x") and not is_absent(tmp_path) and not is_absent("~")
    assert not any(map(is_absent, ("s3://x/y", f"{tmp_path}/*.tar", f"{tmp_path}/x-{{0..3}}.tar")))


def saved(folder, splits):
    import datasets

    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])})
    made = {}
    for split, first in splits.items():
        rows = [{"bytes": picture(first + i), "path": None} for i in range(4)]
        made[split] = datasets.Dataset.from_dict(
            {"image": rows, "label": [-1 if split == "test" else i % 2 for i in range(4)]}, kinds
        )
    return datasets.DatasetDict(made)


SPLITS = {"train": 0, "validation": 10, "test": 20}


def test_groups_of_hugging_face(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"image": [{"bytes": picture(i), "path": None} for i in range(8)], "patient": [0, 0, 1, 1, 2, 2, None, None]}
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).save_to_disk(tmp_path / "set")
    source = {"type": "HuggingFaceSource", "name": str(tmp_path / "set"), "group_column": "patient"}
    assert SOURCES.build(source).groups().tolist() == [0, 0, 1, 1, 2, 2, 3, 4]
    with pytest.raises(UsageError, match=r"has no column who: set source\.group_column to one of image, patient"):
        SOURCES.build({**source, "group_column": "who"}).groups()


@pytest.mark.skipif(not find_spec("datasets"), reason="optional package")
@pytest.mark.parametrize("form", ["disk", "parquet", "sharded"])
def test_splits_of_hugging_face(tmp_path, form):
    sets = saved(tmp_path, SPLITS)
    if form == "disk":
        sets.save_to_disk(tmp_path / "set")
    for split in sets if form != "disk" else ():
        (tmp_path / "set").mkdir(exist_ok=True)
        for n in range(2 if form == "sharded" else 1):
            name = f"{split}-{n:05d}-of-00002-0a1b.parquet" if form == "sharded" else f"{split}.parquet"
            sets[split].shard(2, n, contiguous=True).to_parquet(tmp_path / "set" / name) if form == "sharded" else sets[
                split
            ].to_parquet(tmp_path / "set" / name)
    train, val = (DATASETS.build(place) for place in places(tmp_path / "set", True))
    assert [train.files.read(i)[1] for i in range(4)] == [picture(i) for i in range(4)]
    assert [val.files.read(i)[1] for i in range(4)] == [picture(10 + i) for i in range(4)]
    assert train.classes == val.classes == ["ant", "bee"] and val.labels.tolist() == [0, 1, 0, 1]
    test = {"type": "HuggingFaceSource", "name": str(tmp_path / "set"), "split": "test"}
    assert len(DATASETS.build({"type": "SourceDataset", "source": test})) == 4
    with pytest.raises(UsageError, match="4 of 4 rows have no label in the column label"):
        DATASETS.build({"type": "SourceDataset", "source": test, "with_labels": True})
    with pytest.raises(UsageError, match="cannot be loaded by datasets, split nothing"):
        DATASETS.build({"type": "SourceDataset", "source": {**test, "split": "nothing"}})
