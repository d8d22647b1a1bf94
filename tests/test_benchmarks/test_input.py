"""What the benchmarks of loading measure; never how fast it is."""

import cv2
import pytest

from benchmarks import index, loader
from benchmarks.photos import write_photos
from maetool.data.codecs.jpeg import read_header


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
    write_photos(tmp_path / "photos", 3, (150, 200))
    return tmp_path / "photos"


def test_photographs_are_the_same_each_time_and_differ(photos, tmp_path):
    write_photos(tmp_path / "again", 3, (150, 200))
    data = [path.read_bytes() for path in sorted(photos.iterdir())]
    assert data == [path.read_bytes() for path in sorted((tmp_path / "again").iterdir())]
    assert len(set(data)) == 3
    assert {read_header(one)[:2] for one in data} == {(150, 200)}
    assert all(cv2.imread(str(path)).std() > 10 for path in photos.iterdir())


def test_loaders_are_measured_side_by_side(photos):
    report, figures = loader.run(str(photos), count=2, rounds=1)
    found = figures["your photographs"]
    seconds = found["seconds of an image"]
    assert {loader.PUBLISHED, "maetool", "maetool, prepared shards", "maetool, 4 crops of a decode"} <= seconds.keys()
    batched = found["seconds of an image, in batches"]
    assert batched.keys() == seconds.keys()
    measured = (*seconds.values(), *batched.values(), *found["stages"].values())
    assert all(len(values) == 1 and values[0] > 0 for values in measured)
    assert 0 < found["error"]["mean"] < 0.5
    for name in (*seconds, *found["stages"], *figures["transport"]):
        assert name in report


def test_a_start_is_measured(tmp_path):
    index._write_tree(tmp_path / "images", 30)
    index._age(tmp_path / "images")
    seconds, megabytes = index._start(str(tmp_path / "images"), str(tmp_path / "cache"))
    assert seconds > 0
    assert 0 <= megabytes < 1000
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 1
