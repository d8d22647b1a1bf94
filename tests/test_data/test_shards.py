"""Sets that are prepared once: written, stopped, gone on with, damaged, read by many processes."""

import json
import os
import pickle
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate
from warm import run_warm, start_warm

from maetool.data import ImageFolderDataset, RandomResizedCrop, ShardDataset
from maetool.data.codecs.images import decode_image
from maetool.data.prepare.prepare import REPORT, Recipe, encode, prepare
from maetool.data.sources.kinds import has_classes
from maetool.data.sources.packed.shards import TABLE, ShardTable, is_shard_folder, members_of
from maetool.errors import UsageError

NAMES = ["ant/1.jpg", "ant/2.png", "bee/deep/er/3.jpg", f"bee/{'long' * 40}.jpg", "bee/z.jpg", "bee/é 日本.jpeg"]


@pytest.fixture(autouse=True)
def user_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def source(tmp_path):
    """Six images, the i-th of the grey value 40 i, and three files that are none."""
    root = tmp_path / "source"
    for i, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((60 + i, 80, 3), 40 * i, np.uint8)).save(root / name)
    (root / "ant/0_text.jpg").write_text("no image")
    (root / "bee/empty.png").touch()
    np.save(root / "bee/floats.npy", np.zeros((3, 8, 8), np.float32))
    return root


def make(source, target, **options):
    recipe = Recipe(**{"short_side": 32, "images_per_shard": 4, **options})
    return prepare(str(source), str(target), recipe, 1, lambda done: None)


@pytest.fixture
def shards(source, tmp_path):
    make(source, tmp_path / "shards")
    return tmp_path / "shards"


def grey(sample):
    return round(sample["inputs"].float().mean().item() / 40)


def test_images_labels_and_paths_travel(source, shards):
    data = ShardDataset(shards, with_labels=True)
    assert [grey(data[i]) for i in range(len(data))] == list(range(6))
    assert data.classes == ["ant", "bee"]
    assert [data[i]["label"] for i in range(6)] == [0, 0, 1, 1, 1, 1]
    names = [data.files.relative(i) for i in range(6)]
    assert names == [f"{name}.jpg" if name.endswith("png") else name for name in NAMES]
    assert data[0]["inputs"].shape == (3, 32, 43)
    assert is_shard_folder(shards) and has_classes(shards)
    assert not is_shard_folder(source) and has_classes(source)


def test_what_was_left_out_is_reported(source, tmp_path):
    written, left_out = make(source, tmp_path / "out")
    assert written == 6
    assert [line.split(": ")[0].rsplit("/", 1)[1] for line in left_out] == ["0_text.jpg", "empty.png", "floats.npy"]
    assert "not an image of a known format" in left_out[0]
    assert "the file is empty" in left_out[1]
    assert "other than 8-bit" in left_out[2]
    assert (tmp_path / "out" / REPORT).read_text().splitlines() == left_out


def test_plain_tar_unpacks_the_shards(shards, tmp_path):
    (tmp_path / "unpacked").mkdir()
    for shard in sorted(shards.glob("*.tar")):
        subprocess.run(["tar", "xf", shard, "-C", tmp_path / "unpacked"], check=True)
    folder, data = ImageFolderDataset(tmp_path / "unpacked", with_labels=True), ShardDataset(shards, with_labels=True)
    assert len(folder) == len(data) == 6
    found = {folder.files.relative(i): folder[i]["inputs"] for i in range(6)}
    for i in range(6):
        assert torch.equal(found[data.files.relative(i)], data[i]["inputs"])


def test_the_folder_layout_holds_the_same(source, shards, tmp_path):
    written, left_out = make(source, tmp_path / "files", layout="folder")
    assert (written, len(left_out)) == (6, 3)
    folder, data = ImageFolderDataset(tmp_path / "files", with_labels=True), ShardDataset(shards, with_labels=True)
    assert [folder.files.relative(i) for i in range(6)] == [data.files.relative(i) for i in range(6)]
    assert all(torch.equal(folder[i]["inputs"], data[i]["inputs"]) for i in range(6))


def test_encoding_shrinks_and_keeps_what_is_small(source):
    data = (source / NAMES[0]).read_bytes()
    assert encode(data, Recipe(short_side=60), "a") == data
    assert decode_image(encode(data, Recipe(short_side=30), "a")).shape == (3, 30, 40)
    png = (source / NAMES[1]).read_bytes()
    assert decode_image(encode(png, Recipe(short_side=90), "a")).shape == (3, 61, 80)  # made JPEG, not enlarged


def test_colours_survive(tmp_path):
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[..., 0] = 200
    Image.fromarray(picture).save(tmp_path / "red.png")
    image = decode_image(encode((tmp_path / "red.png").read_bytes(), Recipe(short_side=20), "red"))
    assert image[0].float().mean() > 190 and image[1:].float().mean() < 10


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != TABLE}


@pytest.mark.parametrize("layout", ["shards", "folder"])
def test_going_on_redoes_nothing_and_ends_the_same(source, tmp_path, monkeypatch, layout):
    whole = make(source, tmp_path / "whole", layout=layout)
    out = tmp_path / "out"
    stop = 2 if layout == "folder" else 6

    def interrupt(done, seen=[]):  # noqa: B006
        seen.append(done)
        if sum(seen) >= stop:
            raise KeyboardInterrupt

    recipe = Recipe(short_side=32, images_per_shard=4, layout=layout)
    with pytest.raises(KeyboardInterrupt):
        prepare(str(source), str(out), recipe, 1, interrupt)
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".tar", ".jpg")}
    assert kept
    if layout == "shards":
        with pytest.raises(UsageError, match="shards are not complete: run"):
            ShardDataset(out)
    assert make(source, out, layout=layout) == whole
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items())
    if layout == "shards":
        assert content(out) == content(tmp_path / "whole")
        assert len(ShardDataset(out)) == 6


def test_killed_in_the_middle_leaves_no_process_and_goes_on(source, tmp_path, repository, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(repository))
    for i in range(1500):
        os.link(source / NAMES[0], source / f"ant/copy{i:05d}.jpg")
    command = ["tools/prepare_dataset.py", source, tmp_path / "out", "--images-per-shard", "100"]
    command += ["--short-side", "32", "--workers", "2"]
    with open(os.devnull, "w") as nowhere:
        process = start_warm(command, repository, nowhere)
    deadline = time.time() + 60
    while not (tmp_path / "out/shard-000002.tar").exists():
        assert time.time() < deadline
        time.sleep(0.005)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / TABLE).exists()
    assert len(children) >= 2
    while any(os.path.exists(f"/proc/{pid}") for pid in children):
        assert time.time() < deadline, "the workers outlive their parent"
        time.sleep(0.02)
    done = run_warm(command, repository, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "1,506 images are in" in done.stdout and "3 were left out" in done.stdout
    data = ShardDataset(tmp_path / "out")
    assert len(data) == 1506
    assert not list((tmp_path / "out").glob("*.part"))
    # Nothing doubled, nothing lost.
    assert len({data.files.relative(i) for i in range(1506)}) == 1506


@pytest.mark.parametrize("workers", [0, 2])
def test_many_workers_read_at_random(shards, workers):
    data = ShardDataset(shards, pipeline=[RandomResizedCrop(16)])
    data[0], data[5]  # both shards are open before the processes divide
    order = np.random.default_rng(0).integers(0, 6, 200).tolist()
    loader = DataLoader(data, 10, sampler=order, num_workers=workers)
    found = torch.cat([batch["inputs"].float().mean((1, 2, 3)) / 40 for batch in loader])
    assert found.round().int().tolist() == order


def test_limit_pickle_and_many_shards(source, tmp_path, monkeypatch):
    make(source, tmp_path / "small", images_per_shard=1)
    monkeypatch.setattr("maetool.data.sources.packed.open_files._OPEN_AT_ONCE", 2)
    data = ShardDataset(tmp_path / "small", limit=3)
    assert [grey(data[i]) for i in range(3)] == [0, 2, 4]
    data = pickle.loads(pickle.dumps(ShardDataset(tmp_path / "small")))
    assert [grey(data[i % 6]) for i in range(18)] == [i % 6 for i in range(18)]
    assert len(data.files._files._open) == 2


def refused(shards):
    with pytest.raises(UsageError) as caught:
        ShardDataset(shards)
    return str(caught.value)


def test_truncated_missing_and_foreign_shards(shards):
    shard = shards / "shard-000001.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-700])
    assert f"has {len(whole) - 700:,} bytes, but index.npz says {len(whole):,}" in refused(shards)
    shard.unlink()
    assert "shard-000001.tar is missing" in refused(shards)
    shard.write_bytes(b"x" * len(whole))  # the right size, but not what the table was made for
    with pytest.raises(UsageError, match="does not fit this shard"):
        ShardDataset(shards)
    data = ShardDataset(shards, max_broken=1)
    assert "shard-000001.tar:bee/" in data[4]["skipped"]
    with pytest.raises(UsageError, match="cannot be read as a tar file"):
        members_of(shard)


def damaged(table, **changes):
    arrays = dict(np.load(table))
    np.savez(table, **{**arrays, **changes})


def test_a_damaged_or_edited_table(shards):
    table = shards / TABLE
    good = table.read_bytes()
    for data in (b"", b"not a zip", good[:500], good.replace(b"ant/1.jpg", b"ant/9.jpg")):
        table.write_bytes(data)
        assert "is damaged" in refused(shards)
    table.write_bytes(good)
    arrays = dict(np.load(table))
    for changes in (
        {"format": np.array("something else")},
        {"offset": arrays["offset"] + 10**6},
        {"offset": -arrays["offset"]},
        {"shard": arrays["shard"] + 5},
        {"size": arrays["size"][:3]},
        {"shard": arrays["shard"][:0], "offset": arrays["offset"][:0], "size": arrays["size"][:0]},
    ):
        damaged(table, **changes)
        assert "is damaged" in refused(shards)
        table.write_bytes(good)
    # Inside of the shards, but at the wrong images.
    swapped = [1, 0, 2, 3, 4, 5]
    damaged(table, offset=arrays["offset"][swapped], size=arrays["size"][swapped])
    assert "does not fit this shard" in refused(shards)
    table.unlink()
    assert "has no index.npz" in refused(shards)
    assert "no folder of shards" in refused(shards / "nowhere")


def test_targets_that_cannot_be_used(source, tmp_path, shards):
    with pytest.raises(UsageError, match="short_side 32 instead of 48"):
        make(source, shards, short_side=48)
    (source / "ant/new.jpg").write_bytes((source / NAMES[0]).read_bytes())
    with pytest.raises(UsageError, match="images 9 instead of 10"):
        make(source, shards)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").touch()
    with pytest.raises(UsageError, match="is not empty"):
        make(source, tmp_path / "other")
    with pytest.raises(UsageError, match="lies inside of"):
        make(source, source / "prepared")
    (shards / "prepared.json").write_text("{")
    with pytest.raises(UsageError, match="prepared otherwise"):
        make(source, shards)


def test_sources_that_cannot_be_used(source, tmp_path):
    with pytest.raises(UsageError, match="There is no data at"):
        make(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.jpg").touch()
    with pytest.raises(UsageError, match="None of the 1 files"):
        make(tmp_path / "bad", tmp_path / "out")
    (source / "ant/2.png.jpg").write_bytes((source / NAMES[0]).read_bytes())
    with pytest.raises(UsageError, match="would both be written as"):
        make(source, tmp_path / "out2")
    for options in ({"short_side": 0}, {"quality": 101}, {"images_per_shard": 0}):
        with pytest.raises(UsageError, match=next(iter(options))):
            Recipe(**options)
    (source / "ant/2.png.jpg").unlink()
    with pytest.raises(UsageError, match="workers is 0"):
        prepare(str(source), str(tmp_path / "out3"), Recipe(), 0, lambda done: None)


def test_a_list_that_points_beside_its_folder(source, tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/few.txt").write_text(f"../source/{NAMES[0]}\n{source / NAMES[5]}\n")
    make(tmp_path / "lists/few.txt", tmp_path / "out")
    data = ShardDataset(tmp_path / "out")
    assert [data.files.relative(i) for i in range(2)] == [f"source/{NAMES[0]}", f"source/{NAMES[5]}"]
    assert [grey(data[i]) for i in range(2)] == [0, 5]


def test_the_table_says_where_the_bytes_are(shards):
    table = ShardTable.load(shards)
    for i in range(len(table)):
        path = shards / table.shards[table.shard[i]]
        data = path.read_bytes()[table.offset[i] : table.offset[i] + table.size[i]]
        with tarfile.open(path) as tar:
            assert tar.extractfile(table.names[i]).read() == data


def test_training_takes_a_folder_of_shards(source, shards, repository, tmp_path):
    command = ["tools/train.py", "configs/mae/vit-t_shapes.py", "--debug", "--data", shards]
    command += ["--work-dir", tmp_path / "run", "--cfg-options", "train_dataloader.batch_size=2"]
    done = run_warm(command, repository)
    assert done.returncode == 0, done.stderr[-2000:]
    config = (tmp_path / "run_debug/vit-t_shapes.py").read_text()
    assert "ShardDataset" in config
    assert json.loads((shards / "prepared.json").read_text())["images"] == 9


def test_a_batch_is_stacked_as_uint8(shards):
    data = ShardDataset(shards, pipeline=[RandomResizedCrop(16)])
    assert default_collate(data.__getitems__(list(range(6))))["inputs"].dtype is torch.uint8
