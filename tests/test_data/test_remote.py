"""Files on other machines: S3 and Google Cloud by servers on this one, HTTP, and what goes wrong on the way."""

import logging
import os
import pickle

import numpy as np
import pytest
from servers import Hub, serving

from maetool.data.codecs.images import UnreadableImage
from maetool.data.sources import RemoteSource, disk_cache, extras, remote_system
from maetool.data.sources.disk_cache import DiskCache, bytes_below, kept_of
from maetool.data.sources.remote_system import RemoteSystem, cause_of
from maetool.data.sources.urls import is_url, numbered
from maetool.errors import UsageError
from maetool.testing import check_source

FILES = {f"{name}/{i}.png": bytes([65 + i]) * (100 + i) for name in ("ant", "bee") for i in range(3)}


def test_what_is_a_url(tmp_path):
    assert all(map(is_url, ("s3://b/x", "gs://b", "hf://datasets/a/b", "http://h/x", "HTTPS://h", "file:///x")))
    assert not any(map(is_url, (tmp_path, str(tmp_path), "a/b.csv", "C:\\x", "c://x", "s3:/b")))


def test_numbers_in_a_name():
    assert numbered("s3://b/train-{008..010}.tar") == [f"s3://b/train-{n}.tar" for n in ("008", "009", "010")]
    assert numbered("{0..1}/{1..2}") == ["0/1", "0/2", "1/1", "1/2"] and numbered("a") == ["a"]
    with pytest.raises(UsageError, match="more than"):
        numbered("{0..99999999}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NoCredentialsError", "no credentials were found"),
        ("DefaultCredentialsError", "no credentials were found"),
        ("PermissionError", "access is denied"),
        ("GatedRepoError", "access is denied"),
        ("EntryNotFoundError", "it is not there"),
        ("FileNotFoundError", "it is not there"),
        ("ModuleNotFoundError", "a package is missing"),
        ("EndpointConnectionError", "EndpointConnectionError: a"),
    ],
)
def test_causes_in_words(name, words):
    known = {kind.__name__: kind for kind in (PermissionError, FileNotFoundError, ModuleNotFoundError)}
    error = known.get(name, type(name, (Exception,), {}))("a\nb")
    assert cause_of(error).startswith(words) and "a b" in cause_of(error)


@pytest.mark.parametrize(("status", "words"), [(401, "access"), (403, "access"), (404, "it is not"), (500, "Other")])
def test_causes_by_the_answer_of_a_server(status, words):
    error = type("Other", (Exception,), {"status": status})("x")
    assert cause_of(error).startswith(words)


def test_which_images_are_kept():
    sizes = np.array([10, 20, 30, 40] * 25)
    for limit in (0, 1, 500, 2499, 2500, 10**9):
        kept = kept_of(sizes, limit)
        assert sizes[kept].sum() <= limit and (sizes[kept].sum() > limit - 40 or kept.all() or limit <= 40)
        assert np.array_equal(kept, kept_of(sizes, limit))
    assert kept_of(sizes, None).all() and kept_of(np.array([-1]), None).all()
    with pytest.raises(UsageError, match="does not tell the sizes"):
        kept_of(np.array([3, -1]), 100)
    with pytest.raises(UsageError, match="cache_bytes is -1"):
        kept_of(sizes, -1)


def test_the_disk_has_no_more_than_the_limit(tmp_path):
    sizes, names = np.arange(1, 51), [str(i) for i in range(50)]
    loaded = []

    def get(cache, i):
        return cache.get(i, names[i], lambda: loaded.append(i) or bytes(int(sizes[i])))

    for limit in (600, 200, None, 300):
        cache = DiskCache(tmp_path, "s3://x", names, sizes, limit)
        for _ in range(2):
            loaded.clear()
            assert all(len(get(pickle.loads(pickle.dumps(cache)), i)) == sizes[i] for i in range(50))
        assert bytes_below(tmp_path) <= (limit or sizes.sum())
        assert sizes[loaded].sum() == sizes.sum() - bytes_below(tmp_path)  # what is kept is not loaded again
        assert bytes_below(tmp_path) > (limit or sizes.sum()) - 50


def test_a_file_that_a_crash_cut_is_loaded_again(tmp_path):
    cache = DiskCache(tmp_path, "s3://x", ["a"], np.array([4]))
    for content in (b"", b"ab"):
        cache.get(0, "a", lambda: b"abcd")
        (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
        path.write_bytes(content)
        assert cache.get(0, "a", lambda: b"abcd") == b"abcd" == path.read_bytes()


def test_a_disk_that_is_full_is_told_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(disk_cache, "free_bytes", lambda folder: 3)
    logger = logging.getLogger("maetool")
    logger.addHandler(caplog.handler)
    cache = DiskCache(tmp_path / "file", "s3://x", ["a", "b"], np.array([4, 4]))
    assert "s3://x have 8 bytes" in caplog.text and "where 3 are free: set cache_bytes" in caplog.text
    (tmp_path / "file").write_text("in the way")
    caplog.clear()
    assert [cache.get(i, str(i), lambda: b"abcd") for i in (0, 1)] == [b"abcd"] * 2
    assert len({record.getMessage() for record in caplog.records}) == 1 and "no longer kept" in caplog.text
    logger.removeHandler(caplog.handler)


@pytest.fixture
def server():
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    with serving({f"set/{name}": data for name, data in FILES.items()}) as running:
        running.address += "/set"
        yield running


@pytest.fixture
def quick(monkeypatch):
    """No waiting before another attempt."""
    monkeypatch.setattr(remote_system, "_PAUSE", 0.001)


@pytest.mark.parametrize("faults", [["lost"], ["lost", "busy"], ["lost"] * 3, ["busy"] * 3])
def test_a_connection_that_is_lost_is_tried_again(server, quick, tmp_path, faults):
    source = RemoteSource(server.address, tmp_path)
    server.faults = list(faults)
    if len(faults) < 3:
        assert source.read(0)[1] == FILES["ant/0.png"]
    else:
        with pytest.raises(UnreadableImage, match=r"set/ant/0\.png: it cannot be downloaded: "):
            source.read(0)
        assert not bytes_below(tmp_path)
    assert server.asked.count("set/ant/0.png") == min(3, len(faults) + 1)


def test_a_file_that_is_gone_is_not_asked_for_again(server, quick, tmp_path):
    source = RemoteSource(server.address, tmp_path)
    del server.content["set/ant/0.png"]
    with pytest.raises(UnreadableImage, match="it is not there"):
        source.read(0)
    assert server.asked.count("set/ant/0.png") <= 1


def test_numbered_files_need_no_list(server, tmp_path):
    source = RemoteSource(f"{server.address}/bee/{{0..2}}.png", tmp_path, cache_bytes=150)
    assert [source.relative(i) for i in range(3)] == ["0.png", "1.png", "2.png"]  # below .../bee
    assert [source.read(i)[1] for i in range(3)] == [FILES[f"bee/{i}.png"] for i in range(3)]
    assert 0 < bytes_below(tmp_path) <= 150
    with pytest.raises(UsageError, match="cannot be listed: it is not there"):
        RemoteSource(f"{server.address}/bee/{{0..3}}.png", tmp_path)
    alone = RemoteSource(f"{server.address}/bee/1.png", tmp_path)
    assert len(alone) == 1 and alone.read(0) == (f"{server.address}/bee/1.png", FILES["bee/1.png"])
    with pytest.raises(UsageError, match="does not tell the sizes"):
        RemoteSource(server.address, tmp_path, cache_bytes=150)


@pytest.fixture(scope="module")
def s3():
    """A bucket of a server on this machine: its URL, the options, and the file system."""
    pytest.importorskip("s3fs")
    server_of = pytest.importorskip("moto.server")
    fsspec = pytest.importorskip("fsspec")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    options = {"endpoint_url": address, "key": "k", "secret": "s", "client_kwargs": {"region_name": "us-east-1"}}
    system = fsspec.filesystem("s3", **options, skip_instance_cache=True)
    system.call_s3("create_bucket", Bucket="bucket")
    yield "s3://bucket/set", options, system
    server.stop()


@pytest.fixture
def bucket(s3, monkeypatch):
    url, options, system = s3
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    system.invalidate_cache()
    if system.exists("bucket/set"):
        system.rm("bucket/set", recursive=True)
    for name, data in FILES.items():
        system.pipe(f"bucket/set/{name}", data)
    system.invalidate_cache()
    return url, options, system


def test_s3(bucket, tmp_path):
    url, options, system = bucket
    source = RemoteSource(url, tmp_path, options)
    assert [source.relative(i) for i in range(6)] == list(FILES) and source.root == url
    check_source(source)
    assert source.labels().classes == ["ant", "bee"]
    for name in FILES:
        system.rm(f"bucket/set/{name}")
    assert [source.read(i)[1] for i in range(6)] == list(FILES.values())  # from the disk


def test_s3_and_a_set_larger_than_the_disk(bucket, tmp_path):
    url, options, _ = bucket
    for limit in (400, 250):
        source = RemoteSource(url, tmp_path, options, limit)
        assert [source.read(i)[1] for i in range(6)] == list(FILES.values())
        assert limit - 102 < bytes_below(tmp_path) <= limit


def test_s3_objects_that_changed(bucket, quick, tmp_path):
    url, options, system = bucket
    source = RemoteSource(url, tmp_path, options)
    source.read(1)
    system.pipe("bucket/set/ant/0.png", b"longer" * 100)
    system.pipe("bucket/set/ant/2.png", b"short")
    system.rm("bucket/set/bee/0.png")
    for index, words in ((0, "101 bytes came, but it had 100"), (2, "5 bytes came, but it had 102"), (3, "not there")):
        with pytest.raises(UnreadableImage, match=words):
            source.read(index)
    system.pipe("bucket/set/ant/1.png", b"x" * 101)  # of the same size as before
    again = RemoteSource(url, tmp_path, options)
    assert again.read(1)[1] == b"x" * 101 and len(again) == 5


def test_s3_places_that_cannot_be_read(bucket, tmp_path):
    url, options, _ = bucket
    nobody = {key: value for key, value in options.items() if key not in ("key", "secret")}
    with pytest.raises(UsageError, match=r"s3://nowhere/x cannot be listed: it is not there \(The specified bucket"):
        RemoteSource("s3://nowhere/x", tmp_path, options)
    with pytest.raises(UsageError, match="No image at s3://bucket/other"):
        RemoteSource("s3://bucket/other", tmp_path, options)
    with pytest.raises(UsageError, match=r"no credentials were found .*anon=True"):
        RemoteSource(url, tmp_path, nobody)
    assert len(RemoteSource(url, tmp_path, {**nobody, "anon": True})) == 6


def test_google_cloud(monkeypatch, tmp_path):
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # which asks by another protocol
    pytest.importorskip("gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    options = {"endpoint_url": f"http://127.0.0.1:{server._api._httpd.server_address[1]}", "token": "anon"}
    system = pytest.importorskip("fsspec").filesystem("gs", **options, skip_instance_cache=True)
    for name, data in FILES.items():
        system.pipe(f"bucket/set/{name}", data)
    source = RemoteSource("gs://bucket/set", tmp_path, options, cache_bytes=300)
    assert [source.relative(i) for i in range(6)] == list(FILES)
    check_source(source)
    assert 0 < bytes_below(tmp_path) <= 300
    system.pipe("bucket/set/ant/0.png", b"x")
    with pytest.raises(UnreadableImage, match="1 bytes came, but it had 100"):
        RemoteSource._downloaded(source, source._file(0), "x", 1000)
    with pytest.raises(UsageError, match="it is not there"):
        RemoteSource("gs://nowhere/set", tmp_path, options)
    server.stop()


def test_the_hub(server, tmp_path):
    pytest.importorskip("huggingface_hub")
    server.RequestHandlerClass = Hub
    options = {"endpoint": f"http://127.0.0.1:{server.server_port}", "token": False}
    source = RemoteSource("hf://datasets/me/set/set", tmp_path, options, cache_bytes=300)
    assert [source.relative(i) for i in range(6)] == list(FILES)
    check_source(source)
    assert 0 < bytes_below(tmp_path) <= 300


def test_a_package_of_a_place_that_is_missing_is_named(monkeypatch, tmp_path):
    pytest.importorskip("fsspec")
    with pytest.raises(UsageError, match=r"cannot be listed: .*(adlfs|Azure|Protocol not known)"):
        RemoteSource("abfs://bucket/x", tmp_path)
    with pytest.raises(UsageError, match="cannot be listed: ValueError: Protocol not known"):
        RemoteSource("nosuch://bucket/x", tmp_path)
    monkeypatch.setattr(extras, "is_installed", lambda package: False)
    with pytest.raises(UsageError, match=r"Reading s3://b/x needs a package .*pip install fsspec"):
        RemoteSystem("s3://b/x")
