"""Archives are read in place, whoever packed them, and a stray one beside images changes nothing."""

import io
import json
import logging
import os
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from maetool.config.user_data import all_images, places
from maetool.data.codecs.images import UnreadableImage
from maetool.data.sources import ArchiveSource, ShardSource, WebDatasetSource
from maetool.data.sources.kinds import has_classes, open_source, source_for
from maetool.data.sources.packed import archives
from maetool.data.sources.packed.archive import are_numbered
from maetool.data.sources.packed.members import members_in
from maetool.errors import UsageError


def picture(seed=0):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def pack(path, members, compression=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def names(source):
    return [source.relative(i) for i in range(len(source))]


CLASSES = {f"{kind}/{i}.png": picture(i) for kind in ("ant", "bee") for i in range(2)}


@pytest.mark.parametrize("ending", [".zip", ".tar"])
@pytest.mark.parametrize("below", ["", "photos/", "a/b/", "./"])
def test_an_archive_is_the_folder_that_was_packed(tmp_path, ending, below):
    strays = {f"__MACOSX/{below}ant/._0.png": b"x", f"{below}ant/.hidden.png": b"x", f"{below}notes.txt": b"x"}
    path = pack(tmp_path / f"x{ending}", {**{below + k: v for k, v in CLASSES.items()}, **strays})
    source = ArchiveSource(path)
    assert names(source) == list(CLASSES) and source.labels().classes == ["ant", "bee"]
    assert [source.read(i)[1] for i in range(4)] == list(CLASSES.values())
    assert has_classes(path) and all_images(str(path))["with_labels"]


@pytest.mark.parametrize("ending", [".zip", ".tar"])
@pytest.mark.parametrize(
    ("stems", "expected"),
    [(["n01440764", "n01443537"], True), (["cat", "dog"], True), (["part-000", "part-001"], False)],
)
def test_several_archives_are_classes_unless_they_are_numbered(tmp_path, ending, stems, expected):
    for number, stem in enumerate(stems):
        pack(tmp_path / "set" / f"{stem}{ending}", {f"{stem}_{i}.png": picture(number + i) for i in range(2)})
    assert has_classes(tmp_path / "set") == expected
    source = open_source(tmp_path / "set")
    assert len(source) == 4
    if expected:
        assert source.labels().classes == stems


def test_numbers_of_shards():
    assert are_numbered(["a-3", "a-4"]) and are_numbered(["000010", "000009"]) and are_numbered(["0"])
    assert not are_numbered(["n01", "n03"]) and not are_numbered(["a0", "b1"]) and not are_numbered(["x", "y"])


def test_the_same_names_in_two_archives_stay_apart(tmp_path):
    for number in range(2):
        pack(tmp_path / f"{number}.tar", {"0.png": picture(number)})
    source = ArchiveSource(tmp_path)
    assert names(source) == ["0/0.png", "1/0.png"] and source.read(1)[1] == picture(1)


def shards(folder, label="cls", values=(b"7", b"10"), image="png"):
    for shard in range(2):
        content = {}
        for i in range(3):
            stem = f"{shard}{i:03d}"
            content |= {f"{stem}.{image}": picture(i), f"{stem}.{label}": values[i % 2], f"{stem}.other": b"{}"}
        pack(folder / f"{shard:06d}.tar", content)
    return folder


@pytest.mark.parametrize(
    ("label", "values", "classes"),
    [
        ("cls", (b"7", b"10"), ["7", "10"]),
        ("txt", (b"cat\n", b"dog"), ["cat", "dog"]),
        ("json", (b'{"label": 1}', b'{"label": 0}'), ["0", "1"]),
    ],
)
def test_shards_of_webdataset(tmp_path, label, values, classes):
    source = WebDatasetSource(shards(tmp_path / "set", label, values), label=label)
    assert len(source) == 6 and source.labels().classes == classes
    assert [source.read(i)[1] for i in range(3)] == [picture(i) for i in range(3)]
    few = WebDatasetSource(tmp_path / "set" / "000000.tar", image="png", label=label)
    assert len(few) == 3
    assert source_for(tmp_path / "set")["type"] == "WebDatasetSource"
    assert source.labels().values.tolist() == [classes.index(_word(values[i % 2])) for i in (0, 1, 2, 0, 1, 2)]


def _word(value):
    text = value.decode().strip()
    return str(json.loads(text)["label"]) if text.startswith("{") else text


def test_what_is_wrong_with_shards_is_said(tmp_path):
    shards(tmp_path, "cls")
    with pytest.raises(UsageError, match=r"have no `\.json`"):
        WebDatasetSource(tmp_path, label="json").labels()
    with pytest.raises(UsageError, match="No image in the shards"):
        WebDatasetSource(tmp_path, image="jpg")
    shards(tmp_path, "json", (b"{", b"{}"))
    with pytest.raises(UsageError, match="gives no label"):
        WebDatasetSource(tmp_path, label="json").labels()


@pytest.mark.parametrize("stray", ["n001.tar", "backup.zip"])
@pytest.mark.parametrize("place", ["", "train/"])
def test_a_stray_archive_beside_images_is_passed_over_aloud(tmp_path, caplog, stray, place):
    for part in ("train", "val"):
        for i, name in enumerate(CLASSES):
            path = tmp_path / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(i))
    pack(tmp_path / place / stray, {"0.png": picture()})
    train, val = places(tmp_path, labelled=False)
    assert train["type"] == val["type"] == "ImageFolderDataset" and val["with_labels"]
    logger = logging.getLogger("maetool")
    logger.addHandler(caplog.handler)
    assert len(open_source(tmp_path / "train")) == 4
    assert (os.path.splitext(stray)[1] in caplog.text) == bool(place)
    logger.removeHandler(caplog.handler)


def test_own_shards_that_are_not_complete_are_still_named(tmp_path):
    pack(tmp_path / "shard-000000.tar", CLASSES)
    (tmp_path / "prepared.json").write_text("{}")
    with pytest.raises(UsageError, match="not complete"):
        open_source(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 2000])
@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_what_is_no_archive(tmp_path, ending, content):
    (tmp_path / f"x{ending}").write_bytes(content)
    with pytest.raises(UsageError):
        ArchiveSource(tmp_path / f"x{ending}")


@pytest.mark.parametrize("name", ["x.tar.gz", "x.7z", "x.tgz", "absent.zip"])
def test_compressed_archives_are_to_be_unpacked(tmp_path, name):
    if not name.startswith("absent"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UsageError, match=r"unpack it|check the path"):
        ArchiveSource(tmp_path / name)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.zip")
    with pytest.raises(UsageError, match="not a regular file"):
        ArchiveSource(tmp_path / "x.zip")


def test_other_compressions_and_passwords_are_refused(tmp_path):
    path = pack(tmp_path / "x.zip", CLASSES, zipfile.ZIP_LZMA)
    with pytest.raises(UsageError, match="compression 14"):
        ArchiveSource(path)
    path = pack(tmp_path / "y.zip", {"a.png": picture()})
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + place] |= 1
    path.write_bytes(data)
    with pytest.raises(UsageError, match="encrypted"):
        ArchiveSource(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_is_one_broken_image(tmp_path, compression):
    path = pack(tmp_path / "x.zip", CLASSES, compression)
    source = ArchiveSource(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\3\4", 10) - 20
    data[at] ^= 255
    path.write_bytes(data)
    with pytest.raises(UnreadableImage, match=r"damaged|invalid|incorrect"):
        source.read(0)
    assert source.read(2)[1] == list(CLASSES.values())[2]
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableImage):
        source.read(3)


def test_a_bomb_in_a_zip_is_bounded(tmp_path):
    path = pack(tmp_path / "x.zip", {"a.png": bytes(10**7)})
    with pytest.raises(UnreadableImage, match="more than the 1,000"):
        ArchiveSource(path).read(0, 1000)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 500)  # it states a small size
    path.write_bytes(data)
    with pytest.raises(UnreadableImage, match="damaged"):
        ArchiveSource(path).read(0, 1000)


def test_the_table_of_large_archives_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(archives, "_WORTH_KEEPING", 0)
    read = []
    monkeypatch.setattr(archives, "members_in", lambda path: read.append(path) or members_in(path))
    path = pack(tmp_path / "x.tar", CLASSES)
    os.utime(path, (1, 1))
    for _ in range(2):
        source = ArchiveSource(path)
        assert names(source) == list(CLASSES) and source.read(3)[1] == list(CLASSES.values())[3]
    assert len(read) == 1
    for file in (tmp_path / "cache").rglob("*.npz"):
        file.write_bytes(b"of another program")
    assert len(ArchiveSource(path)) == 4 and len(read) == 2
    pack(tmp_path / "x.tar", {"a/0.png": picture(7), "b/1.png": picture(8)})
    assert names(ArchiveSource(path)) == ["a/0.png", "b/1.png"] and len(read) == 3


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_numbered_archives_by_a_pattern(tmp_path, ending):
    for number in range(9, 12):
        pack(tmp_path / f"s-{number:03d}{ending}", {f"{number}.png": picture(number)})
    assert names(ArchiveSource(f"{tmp_path}/s-{{010..011}}{ending}")) == ["10.png", "11.png"]
    assert names(ArchiveSource(f"{tmp_path}/s-01*{ending}")) == ["10.png", "11.png"]
    with pytest.raises(UsageError, match="no file is named so"):
        ArchiveSource(f"{tmp_path}/t-*{ending}")


def test_options_of_urls_are_refused_for_files(tmp_path):
    path = pack(tmp_path / "x.tar", CLASSES)
    for source in (ArchiveSource, WebDatasetSource, ShardSource):
        for option in ({"options": {"anon": True}}, {"cache_bytes": 5}, {"cache": tmp_path}):
            with pytest.raises(UsageError, match=f"{next(iter(option))} are for URLs"):
                source(path, **option)
