"""Archives on other machines are read by parts: any order, exactly, with a bounded cache, by several processes."""

import io
import tarfile
import zipfile
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image
from servers import serving
from torch.utils.data import DataLoader

from maetool.data import SourceDataset
from maetool.data.codecs.images import UnreadableImage
from maetool.data.samplers import KeyedSampler
from maetool.data.sources import ArchiveSource, ShardSource, WebDatasetSource, remote_system
from maetool.data.sources.disk_cache import bytes_below
from maetool.data.sources.kinds import source_for
from maetool.data.sources.packed.shards import ShardTable, ShardWriter
from maetool.errors import UsageError
from maetool.testing import check_source

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")
CROP = {"type": "RandomResizedCrop", "size": 8}


def picture(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def tar(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def zipped(members, extra=b""):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)
            entry.extra = extra
            archive.writestr(entry, content)
    return file.getvalue()


SHARDS = [
    {
        f"{n}{i}.{k}": picture(10 * n + i) if k == "png" else b"ab"[i % 2 : i % 2 + 1]
        for i in range(4)
        for k in ("png", "cls")
    }
    for n in range(3)
]
IMAGES = [content for shard in SHARDS for name, content in shard.items() if name.endswith("png")]
FOLDER = {f"{kind}/{i}.png": picture(i) for kind in ("ant", "bee") for i in range(3)}


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(remote_system, "_PAUSE", 0.001)
    content = {f"set/train-{n:03d}.tar": tar(shard) for n, shard in enumerate(SHARDS)}
    content |= {
        "set/readme.txt": b"x",
        "packed/x.zip": zipped(FOLDER),
        "packed/y.zip": zipped(FOLDER, b"\xff\xff\x50\0" + bytes(80)),
    }
    with serving(content) as running:
        yield running


@pytest.mark.parametrize("place", ["set", "set/train-*.tar", "set/train-{000..002}.tar"])
def test_shards_of_webdataset(server, place):
    source = WebDatasetSource(f"{server.address}/{place}")
    check_source(source)
    assert [source.read(i)[1] for i in range(12)] == IMAGES
    server.asked.clear()
    assert source.labels().classes == ["a", "b"] and source.labels().values.tolist() == [0, 1] * 6
    assert not server.asked  # they were read with the list of files
    assert (
        source.relative(5) == "train/train-001/11.png"
        and source.path(5) == f"{server.address}/set/train-001.tar:train/train-001/11.png"
    )


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_zip_file(server, name):
    source = ArchiveSource(f"{server.address}/packed/{name}.zip")
    server.asked.clear()
    assert [source.relative(i) for i in range(6)] == list(FOLDER)
    assert [source.read(i)[1] for i in range(6)] == list(FOLDER.values())
    assert len(server.asked) == (6 if name == "x" else 12)  # one request for each, unless its header is long
    check_source(source)
    assert source.labels().classes == ["ant", "bee"]


def test_what_is_in_a_shard_is_read_once(server, tmp_path):
    first = WebDatasetSource(f"{server.address}/set", cache=tmp_path)
    server.asked.clear()
    again = WebDatasetSource(f"{server.address}/set", cache=tmp_path)
    assert not [name for name in server.asked if name.endswith(".tar")]
    assert [again.read(i) for i in range(12)] == [first.read(i) for i in range(12)]
    server.content["set/train-001.tar"] = tar({"x.png": picture(99), "x.cls": b"c"})  # another version
    newer = WebDatasetSource(f"{server.address}/set", cache=tmp_path)
    assert len(newer) == 9 and newer.read(4)[1] == picture(99)


@pytest.mark.parametrize(("share", "kept"), [(0, 0), (0.4, 4), (None, 12)])
def test_the_cache_is_bounded(server, tmp_path, share, kept):
    total = sum(map(len, IMAGES))
    limit = None if share is None else int(share * total)
    source = WebDatasetSource(f"{server.address}/set", cache=tmp_path / "kept", cache_bytes=limit)
    for _ in range(2):
        server.asked.clear()
        assert [source.read(i)[1] for i in range(12)] == IMAGES
    assert bytes_below(tmp_path / "kept") <= (total if limit is None else limit)
    assert len(server.asked) == 12 - kept == 12 - sum(path.is_file() for path in (tmp_path / "kept").rglob("*"))


def samples(address, cache, workers=0, epoch=0, start=0):
    """Return the batches of an epoch and the next of a stream that is larger than its cache."""
    source = WebDatasetSource(f"{address}/set", cache=cache, cache_bytes=1000)
    data = SourceDataset(source, pipeline=[CROP], with_labels=True)
    sampler = KeyedSampler(data, shuffle=True, seed=5)
    made = []
    for number in range(epoch, 2):
        sampler.set_position(number, start if number == epoch else 0)
        context = "fork" if workers else None
        loader = DataLoader(data, 4, sampler=sampler, num_workers=workers, multiprocessing_context=context)
        made += [(batch["inputs"].numpy(), batch["label"].numpy()) for batch in loader]
    return made


def assert_same(one, other):
    assert all(np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


def test_order_and_resuming_are_exact(server, tmp_path):
    alone = samples(server.address, tmp_path / "a")
    assert len(alone) == 6 and not np.array_equal(alone[0][0], alone[3][0])
    assert_same(alone, samples(server.address, tmp_path / "b", workers=2))
    assert_same(alone[4:], samples(server.address, tmp_path / "b", epoch=1, start=4))
    assert bytes_below(tmp_path / "a") <= 1000


def test_two_processes_share_a_cache(server, tmp_path):
    with get_context("fork").Pool(2) as pool:
        one, other = pool.starmap(samples, [(server.address, tmp_path / "c")] * 2)
    assert_same(one, other)
    assert 0 < bytes_below(tmp_path / "c") <= 1000


@pytest.fixture
def prepared(server, tmp_path):
    for n in range(2):
        with ShardWriter(tmp_path / "made" / f"{n}.tar") as shard:
            for name in list(FOLDER)[3 * n : 3 * n + 3]:
                shard.add(name, FOLDER[name])
    ShardTable.of(tmp_path / "made", ["0.tar", "1.tar"]).save()
    server.content |= {f"made/{path.name}": path.read_bytes() for path in (tmp_path / "made").iterdir()}
    return server


@pytest.mark.parametrize("limit", [None, 1000])
def test_prepared_shards(prepared, tmp_path, limit):
    assert source_for(f"{prepared.address}/made") == {"type": "ShardSource", "root": f"{prepared.address}/made"}
    prepared.asked.clear()
    source = ShardSource(f"{prepared.address}/made", cache=tmp_path / "kept", cache_bytes=limit)
    assert not [name for name in prepared.asked if name.endswith(".tar")]  # its table says what is in them
    check_source(source)
    assert [source.read(i)[1] for i in range(6)] == list(FOLDER.values()) and source.labels().classes == ["ant", "bee"]
    assert 0 < bytes_below(tmp_path / "kept") <= (limit or sum(map(len, FOLDER.values())))


def test_what_is_wrong_with_prepared_shards_is_said(prepared, tmp_path):
    url = f"{prepared.address}/made"
    source = ShardSource(url, cache=tmp_path / "kept")
    shard = prepared.content["made/1.tar"]
    prepared.content["made/1.tar"] = shard.replace(FOLDER["bee/1.png"][50:60], bytes(10))
    with pytest.raises(UnreadableImage, match="damaged, its checksum does not match"):
        source.read(4)
    prepared.content["made/1.tar"] = shard[:-512]
    with pytest.raises(UsageError, match=r"made/1\.tar has .* bytes, but index\.npz says"):
        ShardSource(url)
    del prepared.content["made/1.tar"]
    with pytest.raises(UsageError, match=r"made/1\.tar is missing"):
        ShardSource(url)
    prepared.content["made/index.npz"] = b"x"
    with pytest.raises(UsageError, match=r"made/index\.npz is damaged"):
        ShardSource(url)
    del prepared.content["made/index.npz"]
    with pytest.raises(UsageError, match=r"has no index\.npz"):
        ShardSource(url)


def test_a_list_of_contents_survives_a_lost_connection(server):
    server.faults = ["lost", "busy"]
    assert len(WebDatasetSource(f"{server.address}/set/train-000.tar")) == 4
    server.content["set/train-000.tar"] += bytes(512)  # another version
    server.faults = ["lost"] * 3
    with pytest.raises(UsageError, match=r"train-000\.tar: it cannot be downloaded"):
        WebDatasetSource(f"{server.address}/set/train-000.tar")


def test_what_is_wrong_is_said(server, tmp_path):
    with pytest.raises(UsageError, match="There is no archive at"):
        ArchiveSource(f"{server.address}/nothing*")
    with pytest.raises(UsageError, match="cannot be listed: it is not there"):
        WebDatasetSource(f"{server.address}/set/train-{{000..005}}.tar")
    server.content["bad/x.tar"] = b"x" * 2000
    with pytest.raises(UsageError, match=r"bad/x\.tar cannot be read as an archive"):
        ArchiveSource(f"{server.address}/bad")
    source = WebDatasetSource(f"{server.address}/set", cache=tmp_path)
    server.faults = ["lost", "busy", "lost"]
    with pytest.raises(UnreadableImage, match=r"train-000\.tar:train/train-000/00\.png: it cannot be downloaded"):
        source.read(0)
    server.faults = ["lost", "busy"]
    assert source.read(0)[1] == IMAGES[0]
    del server.content["set/train-002.tar"]
    with pytest.raises(UnreadableImage, match="it is not there"):
        source.read(11)
