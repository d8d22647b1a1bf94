"""Features that several machines extract, each a part: joined they are what one machine writes, or it is refused."""

import csv
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from warm import run_job

from maetool.commands import extract_features
from maetool.config.load import complete_config, load_config
from maetool.division import Part
from maetool.errors import UsageError
from maetool.pretrained.extract import build_whole, check_out, extract, write_features
from maetool.pretrained.extract_parts import images_of, is_done, path_of, read_parts, settings_of, write_part
from maetool.pretrained.frozen import features_of, load_frozen
from maetool.registry import MODELS
from maetool.weights.write import write_checkpoint

SMALL = ["model.encoder.depth=1", "model.encoder.embed_dim=32", "model.encoder.num_heads=2"]
SMALL += ["model.encoder.patch_size=8"]


@pytest.fixture(scope="module")
def checkpoints(repository, tmp_path_factory):
    """Two checkpoints of one architecture with other weights."""
    cfg = load_config(repository / "configs/mae/vit-t_shapes.py", SMALL)
    complete_config(cfg)
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in "ab":
        torch.manual_seed(ord(name))
        state = MODELS.build(cfg.model).state_dict()
        write_checkpoint({"meta": {"cfg": cfg.pretty_text}, "state_dict": state}, folder / f"{name}.pth")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """22 images of two classes, the 7th of which is none."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(22):
        path = root / "ab"[number // 11] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    (root / "a/07.png").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def models(checkpoints):
    return {name: load_frozen(checkpoints / f"{name}.pth") for name in "ab"}


@pytest.fixture(scope="module")
def data(models, images):
    return build_whole(models["a"], str(images))


def outputs_of(model, data, pool=None, images=None):
    return extract(model, data, {"features": features_of(model, pool)}, batch_size=4, workers=0, images=images)


def write_parts(out, model, data, total, pool=None):
    settings = settings_of(model, data, pool, 4)
    for number in range(total):
        part = Part(number, total)
        write_part(out, part, settings, outputs_of(model, data, pool, images_of(part, len(data), 4)))
    return settings


def written(out, outputs, data):
    names = [data.name_of(i) for i in outputs["index"].tolist()]
    write_features(out, outputs["features"].numpy(), names, outputs["label"], data.classes)
    return out.read_bytes()


@pytest.mark.parametrize("pool", [None, "tokens"])
@pytest.mark.parametrize("total", [1, 3, 8])  # of six batches
@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_joined_parts_are_what_one_machine_writes(models, data, tmp_path, total, pool, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"out.{ending}"
    settings = write_parts(out, models["a"], data, total, pool)
    whole = outputs_of(models["a"], data, pool)
    assert len(whole["index"]) == 21
    assert written(out, read_parts(out, settings), data) == written(tmp_path / f"whole.{ending}", whole, data)


@pytest.mark.parametrize("images", [0, 1, 63, 64, 65, 1000])
def test_parts_are_complete_batches(images):
    ranges = [images_of(Part(number, 3), images, 64) for number in range(3)]
    assert [index for own in ranges for index in own] == list(range(images))
    assert all(own.start % 64 == 0 for own in ranges if own)


def test_a_part_that_is_written_is_not_computed_again(models, data, tmp_path):
    out, part = tmp_path / "out.npz", Part(0, 2)
    settings = settings_of(models["a"], data, None, 4)
    assert not is_done(out, part, settings)
    write_part(out, part, settings, outputs_of(models["a"], data, None, range(8)))
    assert is_done(out, part, settings)
    assert not is_done(out, part, settings_of(models["b"], data, None, 4))
    path_of(out, part).write_bytes(b"PK damaged")
    assert not is_done(out, part, settings)


@pytest.mark.parametrize(
    ("model", "pool", "batch_size", "max_pixels", "reason"),
    [
        ("b", None, 4, None, "weights "),
        ("a", "cls", 4, None, "pool None instead of cls"),
        ("a", None, 5, None, "batch_size 4 instead of 5"),
        ("a", None, 4, 5000, "max_pixels 268435456 instead of 5000"),
    ],
)
def test_parts_made_otherwise_are_refused(models, data, images, tmp_path, model, pool, batch_size, max_pixels, reason):
    write_parts(tmp_path / "out.npz", models["a"], data, 2)
    other = build_whole(models[model], str(images), max_pixels)
    with pytest.raises(UsageError, match=rf"out\.part-00000-of-00002\.npz was made otherwise \({reason}"):
        read_parts(tmp_path / "out.npz", settings_of(models[model], other, pool, batch_size))


def test_the_normalisation_counts(models, data):
    before = settings_of(models["a"], data, None, 4)
    models["b"].load_state_dict(models["a"].state_dict())
    assert settings_of(models["b"], data, None, 4) == before
    models["b"].data_preprocessor.mean += 1
    assert settings_of(models["b"], data, None, 4)["weights"] != before["weights"]


@pytest.mark.parametrize("change", ["names", "contents", "labels"])
def test_parts_of_other_data_are_refused(models, images, tmp_path, change):
    root = tmp_path / "data"
    shutil.copytree(images, root)
    write_parts(tmp_path / "out.npz", models["a"], build_whole(models["a"], str(root)), 1)
    if change == "names":
        (root / "b/21.png").rename(root / "b/22.png")
    elif change == "contents":
        Image.new("RGB", (40, 40)).save(root / "a/00.png")
    else:
        (root / "b").rename(root / "c")
    settings = settings_of(models["a"], build_whole(models["a"], str(root)), None, 4)
    with pytest.raises(UsageError, match=rf"was made otherwise \(.*{change} \w+ instead of"):
        read_parts(tmp_path / "out.npz", settings)


def test_missing_doubled_and_damaged_parts_are_refused(models, data, tmp_path):
    out = tmp_path / "out.npz"
    settings = write_parts(out, models["a"], data, 3)
    first, second = (path_of(out, Part(number, 3)) for number in range(2))
    content = first.read_bytes()
    first.unlink()
    with pytest.raises(UsageError, match=r"1 of 3 parts of .*out.npz are missing \(0/3\)"):
        read_parts(out, settings)
    first.write_bytes(second.read_bytes())
    with pytest.raises(UsageError, match="holds part 1/3, not 0/3"):
        read_parts(out, settings)
    middle = content.index(b"features.npy") + 200
    first.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(UsageError, match=r"part-00000-of-00003\.npz is damaged"):
        read_parts(out, settings)
    first.write_bytes(content)
    path_of(out, Part(1, 2)).write_bytes(content)
    with pytest.raises(UsageError, match="lie parts of 2 and of 3"):
        read_parts(out, settings)


def test_the_command(monkeypatch, checkpoints, images, tmp_path, capsys):
    def call(out, *options):
        arguments = [checkpoints / "a.pth", "--data", images, "--out", tmp_path / out, "--workers", 0]
        monkeypatch.setattr(sys, "argv", ["extract_features", *map(str, [*arguments, "--batch-size", 4, *options])])
        extract_features.main()
        return capsys.readouterr().out.splitlines()[-1]

    told = call("whole.npz")
    assert "the same command joins them with --join" in call("out.npz", "--part", "1/2")
    assert "part 1/2 was written earlier" in call("out.npz", "--part", "1/2")
    call("out.npz", "--part", "0/2")
    assert call("out.npz", "--join") == told.replace("whole", "out")
    assert "21 images" in told and "1 unreadable" in told
    assert (tmp_path / "out.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npz", "whole.npz"]
    assert "21 images" in call("untrained.npz", "--untrained")
    with np.load(tmp_path / "untrained.npz") as untrained:
        random = load_frozen(checkpoints / "b.pth", trained=False)  # of the same encoder
        expected = outputs_of(random, build_whole(random, str(images)))["features"]
        assert np.array_equal(untrained["features"], expected.numpy())
    with np.load(tmp_path / "whole.npz") as whole:
        assert not np.allclose(whole["features"], expected.numpy(), atol=0.1)


def test_two_processes_of_torchrun_write_what_one_does(repository, checkpoints, images, models, data, tmp_path):
    one = extract(models["a"], data, {"features": features_of(models["a"])}, batch_size=4, workers=0)
    out = tmp_path / "features.npz"
    command = ["-m", "maetool", "extract_features", checkpoints / "a.pth", "--data", images, "--out", out]
    results = run_job([*command, "--batch-size", "4", "--workers", "0"], repository)
    assert [result.returncode for result in results] == [0, 0], results
    assert [str(out) in result.stdout for result in results] == [True, False]  # the first writes
    with np.load(out) as several:
        assert len(several["path"]) == len(one["index"]) == 21
        assert np.array_equal(several["label"], one["label"])
        np.testing.assert_allclose(several["features"], one["features"], atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "cells"),
    [(None, []), (torch.tensor([1, 0]), ["cat", "dog"]), (torch.tensor([[1, 1], [0, 0]]), ["dog cat", ""])],
)
def test_a_csv_reads_back_as_the_same_numbers(tmp_path, labels, cells):
    features = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(0)).numpy()
    names = ["a, b/é.png", "line\nbreak.png"]
    write_features(check_out(tmp_path / "f.csv"), features, names, labels, ["dog", "cat"])
    with (tmp_path / "f.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == names
    assert [row["label"] for row in rows if "label" in row] == cells
    read = [[np.float32(row[f"feature_{i}"]) for i in range(6)] for row in rows]
    assert (np.array(read) == features.reshape(2, 6)).all()
