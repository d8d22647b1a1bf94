"""Sources: the contract over the registry, one dataset over any of them, and the names that it had before."""

import inspect
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from maetool import registry
from maetool.config.checks import check_config
from maetool.config.debug import shrink
from maetool.config.load import load_config
from maetool.config.user_data import use_data
from maetool.data import CsvDataset, ImageFolderDataset, ShardDataset, SourceDataset
from maetool.data.codecs.images import UnreadableImage
from maetool.data.keys import SampleKey
from maetool.data.sources import FolderSource, ShardSource, Source, TableSource, extras
from maetool.data.sources.packed.shards import ShardTable, ShardWriter
from maetool.errors import UsageError
from maetool.registry import DATASETS, SOURCES
from maetool.testing import check_source

CLASSES = ("ant", "bee")
CROP = {"type": "RandomResizedCrop", "size": 8}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The same six images in each kind of place: name of a source to its arguments."""
    root = tmp_path_factory.mktemp("sources")
    folder, rows = root / "folder", ["path,label"]
    for i in range(6):
        path = folder / CLASSES[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (12, 10, 3), np.uint8)).save(path)
        rows.append(f"{path.relative_to(folder)},{CLASSES[i % 2]}")
    (root / "table.csv").write_text("\n".join(rows))
    paths = sorted(folder.rglob("*.png"))
    for number in range(2):
        with ShardWriter(root / "shards" / f"{number}.tar") as shard:
            for path in paths[3 * number : 3 * number + 3]:
                shard.add(str(path.relative_to(folder)), path.read_bytes())
    ShardTable.of(root / "shards", ["0.tar", "1.tar"]).save()
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.relative_to(folder))
    with zipfile.ZipFile(root / "parts.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"train/{path.relative_to(folder)}")
        archive.write(paths[0], "val/ant/0.png")
    with tarfile.open(root / "web-0.tar", "w") as archive:
        for path in paths:
            archive.add(path, f"{path.stem}.png")
            (root / "cls").write_text(path.parent.name)
            archive.add(root / "cls", f"{path.stem}.cls")
    files = {"type": "FolderSource", "root": str(folder), "index_cache": str(root)}
    part = {"type": "ArchiveSource", "root": str(root / "images.zip")}
    return {
        **optional_places(root, folder, paths),
        "ArchiveSource": {"root": str(root / "images.zip")},
        "FrameSource": {"source": files},
        "WindowSource": {"source": files, "size": 12},
        "MixtureSource": {"sources": {"a": files, "b": part}, "weights": {"a": 1.0, "b": 3.0}, "length": 6},
        "PartSource": {"source": {"type": "ArchiveSource", "root": str(root / "parts.zip")}, "split": "train"},
        "PairedSource": {"sources": [files, part], "channels": [2 + 1, 3]},
        "TorchvisionSource": {"dataset": "ImageFolder", "arguments": {"root": str(folder)}},
        "WebDatasetSource": {"root": str(root / "web-*.tar")},
        "FolderSource": {"root": str(folder), "index_cache": str(root)},
        "ShardSource": {"root": str(root / "shards")},
        "TableSource": {"csv_file": str(root / "table.csv"), "root": str(folder)},
        "ZippedSource": {"root": str(root / "images.zip")},
    }


def optional_places(root, folder, paths):
    """Those of sources whose packages are installed here."""
    places = {}
    if find_spec("lmdb"):
        import lmdb

        with lmdb.open(str(root / "lmdb"), map_size=2**24) as database, database.begin(write=True) as writer:
            for path in paths:
                writer.put(str(path.relative_to(folder)).encode(), path.read_bytes())
            writer.put(b"__len__", b"6")
        places["LmdbSource"] = {"root": str(root / "lmdb")}
    if find_spec("fsspec"):
        places["RemoteSource"] = {"root": f"file://{folder}", "cache": str(root / "cache")}
    if find_spec("datasets"):
        import datasets

        rows = {"image": [str(path) for path in paths], "label": [CLASSES.index(path.parent.name) for path in paths]}
        kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
        datasets.Dataset.from_dict(rows, kinds).save_to_disk(root / "saved")
        places["HuggingFaceSource"] = {"name": str(root / "saved")}
    return places


OPTIONAL = {"LmdbSource": "lmdb", "RemoteSource": "fsspec", "HuggingFaceSource": "datasets"}


class ZippedSource(Source):
    """Somebody's source: the images in a zip file."""

    files_in = "root"

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)
        with zipfile.ZipFile(root) as archive:
            self.names = [name for name in archive.namelist() if not name.endswith("/")]

    def __len__(self) -> int:
        return len(self.names)

    def relative(self, index: int) -> str:
        return self.names[index]

    def read(self, index: int, most: int = 2**31) -> tuple[str, bytes]:
        with zipfile.ZipFile(self.root) as archive:
            data = archive.read(self.names[index])
        if len(data) > most:
            raise UnreadableImage(self.path(index), "too large")
        return self.path(index), data


@pytest.fixture
def zip_source():
    SOURCES.register_module(module=ZippedSource)
    yield ZippedSource
    SOURCES.module_dict.pop("ZippedSource")


def own(parts):
    return {name for name, part in parts.parts().items() if part.__module__.startswith("maetool.")}


def test_every_source_keeps_the_contract(places):
    absent = {name for name, package in OPTIONAL.items() if find_spec(package) is None}
    assert own(SOURCES) - absent == places.keys() - {"ZippedSource"}
    for name in own(SOURCES) - absent:
        source = SOURCES.build({"type": name, **places[name]})
        check_source(source)
        assert source.labels().classes == list(CLASSES)
        assert source.files_in is None or source.files_in in places[name]


def test_any_source_feeds_the_dataset(places, zip_source):
    check_source(zip_source(**places["ZippedSource"]))
    for name, arguments in places.items():
        source = {"type": name, **arguments}
        chans = 6 if name == "PairedSource" else 3
        kind = {"type": "SourceDataset", "source": source, "with_labels": True, "pipeline": [CROP], "in_chans": chans}
        dataset = DATASETS.build(kind)
        first, again = (dataset[SampleKey(3, 5)] for _ in range(2))
        assert torch.equal(first["inputs"], again["inputs"]) and first["inputs"].shape == (chans, 8, 8)
        assert dataset.classes == list(CLASSES) and len(dataset) == 6
        assert [dataset[i]["label"] for i in range(6)] == dataset.labels.tolist()
        assert "label" not in SourceDataset(SOURCES.build(source), chans)[0]
        limited = SourceDataset(SOURCES.build(source), chans, with_labels=True, limit=2, nodata=0)
        assert [limited[i]["label"] for i in range(2)] == limited.labels.tolist()
        assert limited[1]["weight"].shape == (12, 10)


def test_workers_read_what_one_process_reads(places):
    """Open files, databases and connections of the parent are not used by processes that were forked from it."""
    for name in places.keys() - {"ZippedSource"}:
        source = SOURCES.build({"type": name, **places[name]})
        data = SourceDataset(source, 6 if name == "PairedSource" else 3, [CROP])
        alone = [data[data.key_of(i)]["inputs"] for i in range(6)]
        keys = [data.key_of(i) for i in range(6)]
        loader = DataLoader(data, batch_size=None, sampler=keys, num_workers=2, multiprocessing_context="fork")
        assert all(torch.equal(a, sample["inputs"]) for a, sample in zip(alone, loader, strict=True)), name


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_package_that_is_missing_is_named(monkeypatch, tmp_path, name):
    monkeypatch.setattr(extras, "is_installed", lambda package: False)
    first = next(iter(inspect.signature(SOURCES.get(name)).parameters))
    sentence = rf"(Reading .*|{name}) needs a package that is not installed: pip install {OPTIONAL[name]}"
    with pytest.raises(UsageError, match=sentence):
        SOURCES.build({"type": name, first: str(tmp_path)})


NAMES = {ImageFolderDataset: FolderSource, ShardDataset: ShardSource, CsvDataset: TableSource}


@pytest.mark.parametrize("kind", NAMES, ids=lambda kind: kind.__name__)
def test_a_name_is_the_dataset_over_its_source(kind, places):
    source, arguments = NAMES[kind], places[NAMES[kind].__name__]
    dataset = kind(**arguments, pipeline=[CROP], part="train", labels_per_class=1, seed=3, **_labelled(kind))
    over = SourceDataset(
        source(**arguments), pipeline=[CROP], part="train", labels_per_class=1, seed=3, with_labels=True
    )
    assert isinstance(dataset, SourceDataset) and len(dataset) == len(over) == 2
    for i in range(2):
        one, other = dataset[SampleKey(i, 9)], over[SampleKey(i, 9)]
        assert one.keys() == other.keys() and torch.equal(one["inputs"], other["inputs"])
        assert (one["label"], dataset.name_of(i)) == (other["label"], over.name_of(i))


def _labelled(kind):
    return {} if kind is CsvDataset else {"with_labels": True}


def test_arguments_are_explicit_in_every_name():
    shared = inspect.signature(SourceDataset).parameters.keys() - {"source"}
    for kind, source in NAMES.items():
        parameters = inspect.signature(kind).parameters
        assert parameters.keys() == (shared - ({"with_labels"} if kind is CsvDataset else set())) | set(
            inspect.signature(source).parameters
        )
        assert next(iter(parameters)) == source.files_in == kind.files_in
        assert all(p.annotation is not p.empty for p in parameters.values())
    with pytest.raises(UsageError, match="CsvDataset has no argument `with_labels`"):
        DATASETS.build({"type": "CsvDataset", "csv_file": "x", "with_labels": True})
    with pytest.raises(UsageError, match=r"ImageFolderDataset\.limit is 'x', but must be an integer or None"):
        DATASETS.build({"type": "ImageFolderDataset", "root": "x", "limit": "x"})
    with pytest.raises(UsageError, match="in_chans"):
        DATASETS.build({"type": "ShardDataset", "root": "x", "in_chans": 0})


def over_a_source(**source):
    cfg = load_config("maetool::mae/vit-t_shapes.py")
    cfg.train_dataloader.dataset = {"type": "SourceDataset", "source": source, "limit": 5, "pipeline": [CROP]}
    return cfg


def test_configs_with_a_source_are_checked(places):
    check_config(over_a_source(type="FolderSource", root="somewhere"))
    with pytest.raises(UsageError, match="FolderSource has no argument `rot`"):
        check_config(over_a_source(type="FolderSource", rot="somewhere"))
    with pytest.raises(UsageError, match=r"no source called `FolderSourc`.*did you mean `FolderSource`"):
        check_config(over_a_source(type="FolderSourc", root="somewhere"))


@pytest.mark.parametrize("kind", ["PairedSource", "MixtureSource", "FrameSource", "PartSource"])
def test_sources_inside_of_sources_are_checked(kind):
    def around(inner):
        several = {"PairedSource": [inner, inner], "MixtureSource": {"a": inner, "b": inner}}
        more = {"PairedSource": {"channels": [3, 3]}, "PartSource": {"split": "val"}}.get(kind, {})
        inside = {"sources": several[kind]} if kind in several else {"source": inner}
        return over_a_source(type=kind, **inside, **more)

    check_config(around({"type": "FolderSource", "root": "somewhere"}))
    with pytest.raises(UsageError, match="FolderSource has no argument `rot`"):
        check_config(around({"type": "FolderSource", "rot": "somewhere"}))
    with pytest.raises(UsageError, match="no source called `FolderSourc`"):
        check_config(around({"type": "FolderSourc", "root": "somewhere"}))


def test_the_files_of_a_source_may_be_absent_in_a_small_run(places):
    absent, present = (
        over_a_source(type="FolderSource", root="/absent"),
        over_a_source(**places["ShardSource"], type="ShardSource"),
    )
    said = shrink(absent)
    assert absent.train_dataloader.dataset.type == "ShapesDataset"
    assert any("/absent does not exist, so drawn shapes replace it" in line for line in said)
    shrink(present)
    assert present.train_dataloader.dataset.type == "SourceDataset"


def test_data_of_the_user_replaces_a_source(places):
    cfg = over_a_source(type="ShardSource", root="/absent")
    use_data(cfg, places["FolderSource"]["root"])
    dataset = cfg.train_dataloader.dataset
    assert dataset.type == "ImageFolderDataset" and "source" not in dataset and dataset.limit == 5


def test_sources_are_in_the_list_of_parts():
    assert registry.SOURCES.name == "source"
    assert registry.registered_name(FolderSource) == "FolderSource"
    assert registry.classes_named("ShardSource") == [ShardSource]
