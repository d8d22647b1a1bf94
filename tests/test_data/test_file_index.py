import os
import pickle
import time

import numpy as np
import pytest

from maetool.data.sources import file_index
from maetool.data.sources.file_index import index_files
from maetool.errors import UsageError

LONG_AGO = time.time() - 3600


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    """Keep the real cache folder out of the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user_cache"))
    return tmp_path / "user_cache" / "maetool" / "index"


@pytest.fixture
def root(tmp_path):
    """A folder of five images whose folders have not changed for an hour."""
    root = tmp_path / "images"
    for name in ("b/2.JPG", "b/1.jpeg", "a/deep/er/x.png", "top.webp", "b/notes.md", "é/日本語 😀.tif"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    age(root)
    return root


def age(root):
    for folder, _, _ in os.walk(root):
        os.utime(folder, (LONG_AGO, LONG_AGO))


def names_of(index):
    return [index.names[i] for i in range(len(index))]


ALL = ["a/deep/er/x.png", "b/1.jpeg", "b/2.JPG", "top.webp", "é/日本語 😀.tif"]


@pytest.fixture
def scans(monkeypatch):
    """The folders that are searched."""
    folders = []
    scandir = os.scandir

    def counted(path):
        if isinstance(path, bytes):  # others, such as the removal of a temporary folder, do not search in bytes
            folders.append(os.fsdecode(path))
        return scandir(path)

    monkeypatch.setattr(file_index.os, "scandir", counted)
    return folders


def sentence_of(root):
    with pytest.raises(UsageError) as caught:
        index_files(root)
    return str(caught.value)


def test_finds_images_at_any_depth_in_sorted_order(root):
    index = index_files(root)
    assert names_of(index) == ALL
    assert len(index) == 5
    assert all(os.path.isfile(index.path(i)) for i in range(5))
    assert names_of(pickle.loads(pickle.dumps(index))) == ALL
    taken = index.take([3, 1])
    assert [taken.relative(i) for i in range(len(taken))] == ["top.webp", "b/1.jpeg"]


def test_relative_root_gives_absolute_paths(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    index = index_files("images")
    monkeypatch.chdir("/")
    assert os.path.isfile(index.path(0))


def test_hidden_entries_are_skipped(root):
    (root / ".thumbs").mkdir()
    (root / ".thumbs" / "x.jpg").touch()
    (root / "b" / "._2.jpg").touch()
    assert names_of(index_files(root)) == ALL


def test_links_are_followed_without_loops_and_without_doubles(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "o.jpg").touch()
    (root / "0_linked").symlink_to(outside)
    (root / "0_loop").symlink_to(root)
    (outside / "back").symlink_to(root)
    (root / "0_alias_of_b").symlink_to(root / "b")
    assert names_of(index_files(root)) == ["0_linked/o.jpg", *ALL]


def test_a_dangling_link_is_kept_so_that_it_is_counted_as_broken(root):
    (root / "b" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    assert "b/gone.jpg" in names_of(index_files(root))


def test_second_start_searches_nothing(root, scans):
    index_files(root)
    assert len(scans) == 6
    scans.clear()
    assert names_of(index_files(root)) == ALL
    assert scans == []


def test_cache_lies_in_the_user_cache_or_where_told(root, user_cache, tmp_path):
    index_files(root)
    assert [file.suffix for file in user_cache.iterdir()] == [".npz"]
    index_files(root, tmp_path / "mine")
    assert [file.suffix for file in (tmp_path / "mine").iterdir()] == [".npz"]


@pytest.mark.parametrize("aged", [True, False])
def test_a_file_added_deep_down_is_noticed(root, aged):
    index_files(root)
    (root / "a/deep/er/new.png").touch()
    if aged:
        os.utime(root / "a/deep/er", (LONG_AGO + 5, LONG_AGO + 5))
    assert names_of(index_files(root)) == ["a/deep/er/new.png", *ALL]


def test_removed_and_renamed_entries_are_noticed(root):
    index_files(root)
    (root / "b/1.jpeg").unlink()
    (root / "a").rename(root / "c")
    assert names_of(index_files(root)) == ["b/2.JPG", "c/deep/er/x.png", "top.webp", ALL[-1]]


def test_folders_changed_just_before_the_search_are_searched_again(root):
    os.utime(root / "b")
    index_files(root)
    # A change in the same tick of the file system's clock leaves the folder's time as it was.
    now = (root / "b").stat().st_mtime_ns
    (root / "b/3.jpg").touch()
    os.utime(root / "b", ns=(now, now))
    assert "b/3.jpg" in names_of(index_files(root))


@pytest.mark.parametrize("damage", [b"", b"not a zip", None, "foreign", "format"])
def test_a_damaged_cache_is_written_anew(root, user_cache, scans, damage):
    index_files(root)
    (cache,) = user_cache.iterdir()
    good = cache.read_bytes()
    if damage is None:
        cache.write_bytes(good.replace(b"b/1.jpeg", b"b/9.jpeg"))
        assert cache.read_bytes() != good
    elif damage == "foreign":
        np.savez(cache, other=np.zeros(3))
    elif damage == "format":
        np.savez(cache, **{**np.load(cache), "format": np.array("0 .jpg")})
    else:
        cache.write_bytes(damage)
    scans.clear()
    assert names_of(index_files(root)) == ALL
    assert len(scans) == 6
    scans.clear()
    index_files(root)
    assert scans == []


def test_a_cache_that_cannot_be_written_is_a_warning(root, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert names_of(index_files(root, tmp_path / "file")) == ALL
    assert "cannot be cached" in caplog.text


def test_list_file(root, tmp_path):
    text = f"\ufeff# my images\n\nimages/top.webp\r\n  {root}/b/2.JPG\n./images/é/日本語 😀.tif\nimages/gone.jpg"
    (tmp_path / "files.txt").write_text(text, encoding="utf-8")
    index = index_files(tmp_path / "files.txt")
    assert names_of(index) == ["images/top.webp", f"{root}/b/2.JPG", "images/é/日本語 😀.tif", "images/gone.jpg"]
    assert [os.path.isfile(index.path(i)) for i in range(4)] == [True, True, True, False]
    assert index.relative(1) == "images/b/2.JPG"


def test_list_file_is_cached_and_a_change_noticed(root, tmp_path, monkeypatch):
    listed = tmp_path / "files.txt"
    listed.write_text("images/top.webp\n")
    os.utime(listed, (LONG_AGO, LONG_AGO))
    index_files(listed)
    with monkeypatch.context() as patch:
        patch.setattr(file_index, "_scan_list", lambda path: pytest.fail("read again"))
        assert names_of(index_files(listed)) == ["images/top.webp"]
    listed.write_text("images/b/2.JPG\n# and a comment\n")
    os.utime(listed, (LONG_AGO, LONG_AGO))
    assert names_of(index_files(listed)) == ["images/b/2.JPG"]


def test_missing_root_names_the_nearest_folder_and_the_options(tmp_path):
    sentence = sentence_of(tmp_path / "no" / "such" / "folder")
    assert f"nearest folder that exists is {tmp_path})" in sentence
    assert "--data FOLDER" in sentence
    assert "train_dataloader.dataset.root in its config" in sentence


def test_a_picture_is_a_set_of_one(root):
    index = index_files(root / "top.webp")
    assert names_of(index) == ["top.webp"] and index.path(0) == str(root / "top.webp")


def test_root_that_is_another_file(tmp_path):
    (tmp_path / "x.docx").write_bytes(b"x")
    sentence = sentence_of(tmp_path / "x.docx")
    assert "single file" in sentence
    assert ".txt" in sentence


def test_folder_without_images(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no files at all" in sentence_of(tmp_path / "empty")
    others = tmp_path / "others"
    others.mkdir()
    for name in ("a.mp4", "b.MP4", "c.txt", "README"):
        (others / name).touch()
    sentence = sentence_of(others)
    assert "2 x .mp4" in sentence
    assert "1 x no extension" in sentence
    assert ".jpg" in sentence


def test_lists_that_lead_nowhere(tmp_path):
    (tmp_path / "files.txt").write_text("a.jpg\nb.jpg\n")
    sentence = sentence_of(tmp_path / "files.txt")
    assert "None of the 2 files" in sentence
    assert str(tmp_path / "a.jpg") in sentence
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    assert "names no file" in sentence_of(tmp_path / "empty.txt")


def test_folder_that_may_not_be_read(root, monkeypatch):
    scandir = os.scandir

    def deny(path):
        if os.fsdecode(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(file_index.os, "scandir", deny)
    sentence = sentence_of(root)
    assert f"{root}/a/deep cannot be read (Permission denied)" in sentence
