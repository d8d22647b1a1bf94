"""What the doctor, the origins of a config and the statistics of a folder say."""

import runpy
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from maetool.config.origin import COMPUTED, trace
from maetool.data.sources.file_index import index_files
from maetool.inspection.pixels import channels_of
from maetool.inspection.statistics import measure, to_text
from maetool.installation import trials as doctor
from maetool.installation.packages import FAILS, OK, Finding
from maetool.pretrained.predict import images_at, table_of


@pytest.fixture
def origins(repository, monkeypatch):
    monkeypatch.chdir(repository)

    def find(config, **said):
        return {name: (value, origin) for name, value, origin in trace(config, **said)}

    return find


def line_of(repository, path, text):
    lines = (repository / path).read_text().splitlines()
    return f"{path}:{1 + next(i for i, line in enumerate(lines) if text in line)}"


def test_where_values_come_from(repository, origins):
    found = origins("configs/colormae/vit-t_shapes.py", options=["model.encoder.depth=3"])
    own, base = "configs/colormae/vit-t_shapes.py", "configs/_base_/encoders/vit-t_shapes.py"
    assert found["model.masker.type"] == ("ColorNoiseMasker", line_of(repository, own, "ColorNoiseMasker"))
    assert found["model.encoder.num_heads"] == (4, line_of(repository, base, "num_heads"))
    assert found["model.encoder.depth"] == (3, "--cfg-options")
    assert found["train_dataloader.dataset.img_size"] == ((32, 32), COMPUTED)
    assert found["custom_hooks.0.type"][1].startswith("configs/_base_/runtime/default.py:")
    assert found["optim_wrapper.optimizer.lr"][1] == COMPUTED


def test_every_config_can_be_traced(repository, origins):
    """Whatever a config states has a line; what it replaces has none left."""
    for path in ("configs/finetune/vit-b_100e.py", "configs/mff/vit-b_300e.py", "configs/knn/vit-t_shapes.py"):
        found = origins(path)
        assert {origin.split(":")[0] for _, origin in found.values()} >= {path}
        assert all(origin == COMPUTED or (repository / origin.split(":")[0]).is_file() for _, origin in found.values())


def test_a_users_folder_is_an_origin(origins, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    found = origins("configs/mae/vit-b_800e.py", data=str(tmp_path))
    assert found["train_dataloader.dataset.root"] == (str(tmp_path), "--data")


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Grey and colour of several sizes; two are broken."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    arrays = [generator.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8) for i in range(4)]
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{i}.png")
    grey = generator.integers(0, 256, (10, 10), dtype=np.uint8)
    Image.fromarray(grey).save(folder / "grey.png")
    (folder / "empty.jpg").write_bytes(b"")
    whole = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    return folder, [*arrays, np.repeat(grey[..., None], 3, axis=2)]


def test_statistics_of_photographs(pictures):
    folder, arrays = pictures
    files = index_files(folder)
    found = measure(files, range(len(files)), workers=2)
    means = np.stack([array.reshape(-1, 3).mean(axis=0) for array in arrays])
    squares = np.stack([(array.reshape(-1, 3).astype(float) ** 2).mean(axis=0) for array in arrays])
    np.testing.assert_allclose(found.mean, means.mean(axis=0))
    np.testing.assert_allclose(found.std, np.sqrt(squares.mean(axis=0) - means.mean(axis=0) ** 2))
    assert found.channels == {3: 4, 1: 1}
    assert sorted(line.split("/")[-1].split(":")[0] for line in found.broken) == ["cut.png", "empty.jpg"]
    text = to_text(found, len(files))
    assert "7 files, 2 unreadable" in text
    assert "smallest 10x10, median 21x30, largest 23x30" in text
    assert f"model.data_preprocessor.mean=[{found.mean[0]:.6g}," in text.splitlines()[-1]


def test_statistics_can_be_pasted(pictures, origins):
    found = measure(index_files(pictures[0]), range(7), in_chans=1)
    options = to_text(found, 7).splitlines()[-1].split()[1:]
    assert options[0] == "model.encoder.in_chans=1"
    traced = origins("configs/mae/vit-b_800e.py", options=options, data=str(pictures[0]))
    assert traced["train_dataloader.dataset.in_chans"] == (1, COMPUTED)
    assert traced["model.data_preprocessor.mean"][0] == [pytest.approx(found.mean[0], rel=1e-5)]


def test_statistics_of_arrays(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bands").mkdir()
    bands = [np.full((5, 12, 9), value, np.uint16) for value in (1000, 3000)]
    np.save(tmp_path / "bands" / "a.npy", bands[0])
    tifffile.imwrite(tmp_path / "bands" / "b.tiff", bands[1].transpose(1, 2, 0), planarconfig="contig")
    Image.new("RGB", (9, 12)).save(tmp_path / "bands" / "c.png")
    found = measure(index_files(tmp_path / "bands"), range(3))
    assert (found.in_chans, found.arrays, found.eight_bit) == (5, 2, False)
    assert found.mean == [2000.0] * 5
    assert found.std == [1000.0] * 5
    assert "5 channels were expected" in found.broken[0]
    assert "model.encoder.in_chans=5" in to_text(found, 3)


def test_statistics_of_nothing_readable(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.jpg").write_bytes(b"no image")
    text = to_text(measure(index_files(tmp_path / "x"), [0]), 1)
    assert text.startswith("1 files, 1 unreadable\n  ")
    assert "mean" not in text


def test_channels_of_grey_and_palette(tmp_path):
    for mode, expected in (("L", 1), ("LA", 1), ("P", 3), ("RGBA", 3), ("I;16", 1)):
        Image.new(mode, (4, 4)).save(tmp_path / "x.png")
        assert channels_of((tmp_path / "x.png").read_bytes(), "x") == expected


def test_the_doctor_tries(tmp_path):
    found = {finding.name: finding for finding in doctor.examine(tmp_path / "deep" / "work_dirs")}
    for name in ("a training step, cpu", "decoding a JPEG file", "a loader worker"):
        assert found[name].state == OK, found[name]
    assert not (tmp_path / "deep").exists()


@pytest.fixture
def tool(repository, monkeypatch, capsys):
    """Runs a tool in this process, and returns its exit code and what it wrote."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.chdir(repository)
        with pytest.raises(SystemExit) as left:
            runpy.run_path(f"tools/{name}.py", run_name="__main__")
        written = capsys.readouterr()
        return left.value.code, written.out, written.err

    return run


def test_the_tools(tool, pictures, tmp_path):
    code, out, _ = tool("dataset_stats", pictures[0], "--broken", tmp_path / "broken.txt", "--limit", 100)
    assert (code, out.count("unreadable")) == (0, 1)
    assert len((tmp_path / "broken.txt").read_text().splitlines()) == 2
    code, out, _ = tool("print_config", "configs/mae/vit-b_800e.py", "--only", "model.encoder")
    assert code == 0
    assert out.startswith("model.encoder.type = ")
    code, out, _ = tool("print_config", "configs/mae/vit-t_shapes.py", "--text", "--cfg-options", "base_lr=0.5")
    assert "base_lr = 0.5" in out
    code, out, _ = tool("list_components", "target")
    assert "PixelTarget(patch_size, in_chans=3, norm_pix_loss=True)" in out
    assert "Loaded plugins: " in out


@pytest.mark.parametrize("rows", [["path"], ["path,label"], ["path,note"]])
def test_a_table_is_measured_whatever_it_says_of_its_images(tool, pictures, tmp_path, rows):
    files = sorted(pictures[0].rglob("*.png"))[:3]
    cells = [f",0.{number}37" * ("," in rows[0]) for number in range(len(files))]
    (tmp_path / "table.csv").write_text("\n".join([*rows, *(f"{f}{c}" for f, c in zip(files, cells, strict=True))]))
    code, out, _ = tool("dataset_stats", tmp_path / "table.csv", "--workers", 1)
    assert code == 0 and "3 files, 0 unreadable" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dataset_stats", "no/such"], "There is no data at"),
        (["dataset_stats", ".", "--limit", "0"], "must be at least 1"),
        (["print_config", "configs/mae/vit-t_shapes.py", "--only", "modle"], "no value below `modle`"),
        (["list_components", "maskers"], "no kind of part called 'maskers'"),
    ],
)
def test_mistakes_are_one_sentence(tool, arguments, sentence):
    code, _, err = tool(*arguments)
    assert code == 2
    assert sentence in err


def test_the_doctor_ends_with_what_fails(tool, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "examine", lambda *_: [Finding(FAILS, "a thing", "gone", "mend it")])
    code, out, err = tool("doctor", "--work-dir", tmp_path)
    assert (code, "-> mend it" in out, "1 requirement of maetool failed" in err) == (2, True, True)
    monkeypatch.setattr(doctor, "examine", lambda *_: [Finding(OK, "a thing", "there")])
    code, out, _ = tool("doctor")
    assert (code, out.splitlines()[-1]) == (0, "All requirements of maetool work on this machine.")


def test_print_config_ends_in_what_training_would_refuse(tool):
    code, out, err = tool("print_config", "configs/mae/vit-t_shapes.py", "--cfg-options", "model.mask_ratio=0.5")
    assert code == 2 and "model.masker.mask_ratio" in out and "MaskedImageModel has no argument `mask_ratio`" in err


def test_a_stack_of_pictures_is_asked_about(tmp_path):
    for name, channels in (("stack", 40), ("bands", 12)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", np.arange(channels * 3000).reshape(channels, 60, 50).astype(np.uint8))
    texts = {
        name: to_text(measure(index_files(tmp_path / name), range(1), workers=1), 1) for name in ("stack", "bands")
    }
    assert "if they are 40 pictures, slices or frames" in texts["stack"] and "FrameSource" not in texts["bands"]


def test_predictions_of_folders_are_a_table(pictures):
    folder, _ = pictures
    places = [str(folder / "0.png"), str(folder)]
    assert list(images_at(places)) == [places[0], *(str(path) for path in sorted(folder.iterdir()))]
    classes = [{"image": "a.png", "classes": [{"class": "x", "probability": 0.9}, {"class": "y", "probability": 0.1}]}]
    assert table_of(classes) == [["path", "class", "probability"], ["a.png", "x", 0.9]]
    assert table_of([{"image": "a.png", "numbers": {"age": 3.0}}]) == [["path", "age"], ["a.png", 3.0]]
    assert table_of([{"image": "a.png", "classes": [{"class": "x", "share": 0.9}]}]) == table_of([]) == []
