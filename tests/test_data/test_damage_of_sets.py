"""One changed bit in a set, a list or a table that maetool writes is noticed, or changes nothing that is read."""

import json
import random
import zipfile

import numpy as np
import pytest
from bits import places, with_changed_bit
from PIL import Image

from maetool.data.codecs.images import UnreadableImage, read_image
from maetool.data.datasets.segmentation import read_index_png
from maetool.data.drawn.shapes import ShapesDataset
from maetool.data.drawn.shapes_segmentation import write_ade20k
from maetool.data.prepare.prepare import SETTINGS, Recipe, prepare
from maetool.data.sources.file_index import index_files
from maetool.data.sources.packed.shards import TABLE, ShardFiles, ShardTable, ShardWriter
from maetool.engine.sweep import read_result
from maetool.errors import UsageError
from maetool.pretrained.extract import write_features
from maetool.weights.checksums import is_broken, sealed_json
from maetool.writing import write_file, write_picture

NOTICED = (UsageError, UnreadableImage)


def pictures(folder, number=3, suffix=".jpg"):
    folder.mkdir()
    for place in range(number):
        pixels = np.random.default_rng(place).integers(0, 255, (24, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}{suffix}")
    return folder


def prepared(folder):
    target = folder / "prepared"
    prepare(str(pictures(folder / "source")), str(target), Recipe(short_side=32), 1, lambda done: None)
    return target


def images_in_shards(target):
    files = ShardFiles(ShardTable.load(target))
    return [(files.relative(place), files.read(place)[1]) for place in range(len(files))]


def shard(folder):
    target = prepared(folder)
    return target / "shard-000000.tar", lambda path: images_in_shards(target)


def table(folder):
    target = prepared(folder)
    return target / TABLE, lambda path: images_in_shards(target)


def note(folder):
    target = prepared(folder)

    def go_on(path):
        prepare(str(folder / "source"), str(target), Recipe(short_side=32), 1, lambda done: None)

    return target / SETTINGS, go_on


def cache(folder):
    source = pictures(folder / "source")
    index_files(source, folder / "cache")
    (path,) = (folder / "cache").glob("*.npz")
    return path, lambda path: list(index_files(source, folder / "cache").names)


def truth(folder):
    write_ade20k(ShapesDataset(1, img_size=32), folder)
    (path,) = folder.glob("annotations/training/*.png")
    return path, read_index_png


def picture(folder):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    write_picture(folder / "a.png", pixels, "PNG")
    return folder / "a.png", lambda path: read_image(path).numpy()


SETS = {"shard": shard, "table": table, "note": note, "cache": cache, "truth": truth, "picture": picture}


def same(one, other):
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


@pytest.mark.parametrize("name", SETS)
def test_one_changed_bit_in_a_set(tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    path, read = SETS[name](tmp_path)
    content, before, noticed = path.read_bytes(), read(path), 0
    for place, bit in places(len(content), random.Random(name), 2 if name == "note" else 60):
        damaged = with_changed_bit(content, place, bit)
        path.write_bytes(damaged)
        try:
            assert same(before, read(path)), (place, bit)
        except NOTICED as error:
            noticed += "\n" not in str(error)
    assert noticed or name == "cache"  # which is written anew
    assert noticed > 100 or name in ("cache", "note")


def test_shards_written_before_there_were_checksums_are_read(tmp_path):
    (source,) = pictures(tmp_path / "source", 1).iterdir()
    with ShardWriter(tmp_path / "a.tar") as writer:
        writer.add("0.jpg", source.read_bytes())
    whole = (tmp_path / "a.tar").read_bytes()
    assert b"crc32:" in whole[:512]
    (tmp_path / "a.tar").write_bytes(whole[:265] + bytes(32) + whole[297:])  # no owner, as tar leaves it
    ShardTable(**vars(_table(tmp_path, whole))).save()
    assert images_in_shards(tmp_path) == [("0.jpg", source.read_bytes())]


def _table(folder, whole):
    (folder / "b").mkdir()
    (folder / "b" / "a.tar").write_bytes(whole)
    made = ShardTable.of(folder / "b", ["a.tar"])
    return type(made)(str(folder), made.shards, made.lengths, made.shard, made.offset, made.size, made.names)


@pytest.mark.parametrize("content", ["[]", "5", "null", "[" * 100_000, "\udcff"])
def test_a_note_of_another_kind_is_one_sentence(tmp_path, content):
    target = prepared(tmp_path)
    (target / SETTINGS).write_text(content, errors="surrogateescape")
    with pytest.raises(UsageError, match="holds a set that was prepared otherwise"):
        prepare(str(tmp_path / "source"), str(target), Recipe(short_side=32), 1, lambda done: None)


def test_one_changed_bit_in_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    values, path = np.random.default_rng(0).normal(size=(20, 24)).astype(np.float32), tmp_path / "f.parquet"
    write_features(path, values, [f"{number}.png" for number in range(20)], None, [])
    content = path.read_bytes()
    before = parquet.read_table(path, page_checksum_verification=True).to_pydict()
    assert not is_broken(content) and np.array_equal(np.array(before["features"], np.float32), values)
    wrong = 0
    for place, bit in places(len(content), random.Random(0), 60):
        damaged = with_changed_bit(content, place, bit)
        assert is_broken(damaged) or b"maetool_checksum" not in damaged or b"crc32:" not in damaged
        path.write_bytes(damaged)
        try:
            found = parquet.read_table(path, page_checksum_verification=True).to_pydict()
            wrong += found.get("features", before["features"]) != before["features"]
        except (OSError, ValueError):  # what pyarrow raises
            pass
    assert wrong == 0


def result(path):
    write_file(path, sealed_json({"options": ["a=1"], "top-1 %": 61.25, "kNN %": 50.5, "validation loss": 0.125}))


def test_one_changed_bit_in_the_result_of_a_comparison(tmp_path):
    path = tmp_path / "result.json"
    result(path)
    content, before, noticed = path.read_bytes(), read_result(path), 0
    for place, bit in [(place, bit) for place in range(len(content)) for bit in range(8)]:
        damaged = with_changed_bit(content, place, bit)
        path.write_bytes(damaged)
        try:
            found = read_result(path)
            assert {**found, "maetool_checksum": 0} == {**before, "maetool_checksum": 0} or (
                b'"maetool_checksum"' not in damaged and found.items() >= {"top-1 %": 61.25, "kNN %": 50.5}.items()
            ), (place, bit)
        except UsageError as error:
            noticed += "is damaged: delete it" in str(error) and "\n" not in str(error)
    assert noticed > 0.8 * 8 * len(content)
    path.write_text(json.dumps({"options": [], "top-1 %": 5}))  # as written before there was a checksum
    assert read_result(path)["top-1 %"] == 5
    path.write_text(json.dumps({"options": [], "top-1 %": "5"}))
    with pytest.raises(UsageError, match="is damaged"):
        read_result(path)


def test_features_are_archives_whose_checksums_numpy_compares(tmp_path):
    path = tmp_path / "f.npz"
    write_features(path, np.ones((4, 300), np.float32), list("abcd"), None, [])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(zipfile.BadZipFile), np.load(path) as file:
        [file[name] for name in file.files]
