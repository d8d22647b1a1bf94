"""The tools as a person uses them: train, stop, go on, test, look."""

import json
import re
import time

import numpy as np
import pytest
from PIL import Image
from warm import run_warm, start_warm

from maetool.reports.command import read_command

SHAPES = "configs/mae/vit-t_shapes.py"
CONFIG = "vit-t_shapes.py"  # as training left it in the work folder
VIT_B = "configs/mae/vit-b_800e.py"
SMALL = ["model.encoder.depth=1", "model.encoder.embed_dim=48", "model.encoder.num_heads=3", "model.decoder.depth=1"]
SMALL += ["model.decoder.embed_dim=32", "model.decoder.num_heads=2", "model.encoder.img_size=[64,32]"]
SMALL += ["train_dataloader.batch_size=4", "effective_batch_size=8", "param_scheduler.0.warmup_epochs=1"]


def tool(repository, *arguments):
    return run_warm(arguments, repository)


def fine(result):
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def trained(repository, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("shapes") / "run"
    out = fine(tool(repository, "tools/train.py", SHAPES, "--debug", "--work-dir", work_dir))
    return work_dir.with_name("run_debug"), out


def test_training_says_what_a_person_needs(trained):
    work_dir, out = trained
    assert "Learning rate 9.38e-05 = 0.006 per 256 images x 4 / 256" in out
    assert "constant predictor" in out
    assert "images/s" in out
    assert "left" in out
    assert "kNN accuracy, untrained -> trained" in out
    command = read_command(work_dir)
    assert command.line.startswith(f"maetool train {SHAPES} --debug --work-dir ")
    assert command.origins["work_dir"] == "--work-dir"
    assert re.fullmatch(r"configs/\S+\.py:\d+", command.origins["model.encoder.depth"])
    for name in ("loss_curve.png", "reconstructions/epoch_2.png", "epoch_2.pth"):
        assert str(work_dir / name) in out
        assert (work_dir / name).is_file()


def test_the_tool_draws_the_picture_that_training_drew(repository, trained, tmp_path):
    work_dir, _ = trained
    out = tmp_path / "picture.png"
    checkpoint = work_dir / "epoch_2.pth"
    fine(tool(repository, "tools/visualize_reconstruction.py", work_dir / CONFIG, checkpoint, "--out", out))
    drawn, hooked = Image.open(out), Image.open(work_dir / "reconstructions" / "epoch_2.png")
    assert np.array_equal(np.asarray(drawn), np.asarray(hooked))


def test_test_reports_what_training_reported(repository, trained):
    work_dir, _ = trained
    out = fine(tool(repository, "tools/test.py", work_dir / CONFIG, work_dir / "epoch_2.pth"))
    metrics = json.loads((work_dir / "test" / "metrics.json").read_text())
    assert {"loss", "constant_predictor", "knn", "knn_pixels"} <= metrics.keys()
    assert f"{metrics['loss']:.4f}" in out
    log = [json.loads(line) for path in work_dir.glob("2*/vis_data/scalars.json") for line in path.open()]
    reported = [line["val/loss"] for line in log if "val/loss" in line]
    assert reported[-1] == pytest.approx(metrics["loss"], abs=1e-6)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Photographs that scikit-image ships, as files of several kinds and sizes, two of them broken."""
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "deep" / "er").mkdir(parents=True)
    pictures = [getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "camera", "rocket", "cat")]
    for i in range(24):
        picture = Image.fromarray(pictures[i % 6])
        picture = picture.crop((i, i, picture.width - i, picture.height - 2 * i))
        place = [folder, folder / "deep", folder / "deep" / "er"][i % 3]
        picture.save(place / f"{i:02d}.{['jpg', 'png', 'webp'][i % 3]}")
    (folder / "empty.jpg").write_bytes(b"")
    whole = (folder / "00.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


def test_photographs_train_are_killed_and_go_on(repository, photographs, tmp_path):
    arguments = ["tools/train.py", VIT_B, "--data", photographs, "--work-dir", tmp_path / "w", "--amp", "bfloat16"]
    options = ["--cfg-options", *SMALL, "train_cfg.max_epochs=6", "train_cfg.val_interval=3"]
    process = start_warm([*arguments, *options], repository)
    deadline = time.monotonic() + 120
    while not (tmp_path / "w" / "epoch_2.pth").is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert (tmp_path / "w" / "last_checkpoint").is_file()
    refused = tool(repository, *arguments, *options)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    out = fine(tool(repository, *arguments, "--resume", *options))
    assert "position in the data come from" in out
    assert "(epoch 6/6)" in out
    assert "validation loss, same masks" in out
    log = "".join(path.read_text() for path in (tmp_path / "w").glob("*/*.log"))
    assert "empty.jpg" in log
    assert "cut.jpg" in log
    panel = Image.open(tmp_path / "w" / "reconstructions" / "epoch_6.png")
    assert min(panel.size) > 500


@pytest.mark.parametrize("suffix", [".npy", ".tiff"])
def test_images_of_many_channels_train(repository, tmp_path, suffix):
    import tifffile

    generator = np.random.default_rng(0)
    (tmp_path / "bands").mkdir()
    for i in range(12):
        picture = generator.integers(0, 4000, (40, 72, 7)).astype(np.uint16)
        path = tmp_path / "bands" / f"{i}{suffix}"
        np.save(path, picture) if suffix == ".npy" else tifffile.imwrite(path, picture, planarconfig="contig")
    options = [*SMALL, "model.encoder.in_chans=7", "model.encoder.patch_size=[16,8]", "train_cfg.max_epochs=2"]
    options += [f"model.data_preprocessor.mean={[2000.0] * 7}", f"model.data_preprocessor.std={[1000.0] * 7}"]
    options = [option.replace(" ", "") for option in options]
    arguments = ["--data", tmp_path / "bands", "--work-dir", tmp_path / "w", "--cfg-options", *options]
    out = fine(tool(repository, "tools/train.py", VIT_B, *arguments))
    assert "(epoch 2/2)" in out
    assert (tmp_path / "w" / "reconstructions" / "epoch_2.png").is_file()


def test_shapes_on_disk_are_segmented_and_told(repository, tmp_path):
    data, work_dir = tmp_path / "data", tmp_path / "run"
    fine(tool(repository, "tools/make_shapes.py", data, "--train", 8, "--val", 4, "--size", 24, 40))
    assert len(list(data.glob("images/validation/*.jpg"))) == len(list(data.glob("annotations/validation/*.png"))) == 4
    config = "configs/segmentation/linear_vit-t_shapes.py"
    out = fine(tool(repository, "tools/train.py", config, "--debug", "--data", data, "--work-dir", work_dir))
    assert "mean IoU" in out
    images = sorted(data.glob("images/validation/*.jpg"))[:2]
    run = work_dir.with_name("run_debug")
    told = tool(
        repository, "tools/predict.py", run / "linear_vit-t_shapes.py", run / "epoch_2.pth", *images, "--out", tmp_path
    )
    assert "Wrote 2 pictures and predictions.json to" in fine(told)
    entries = json.loads((tmp_path / "predictions.json").read_text())
    assert [entry["image"] for entry in entries] == list(map(str, images))
    assert np.asarray(Image.open(tmp_path / "000_000000_classes.png")).shape == (24, 40)
    assert all((tmp_path / entry["picture"]).is_file() for entry in entries)
