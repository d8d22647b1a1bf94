"""The commands that read images of the user's take `--max-pixels`, which the sentence about a large image names."""

import sys
from importlib import import_module

import pytest
from PIL import Image

from maetool import commands
from maetool.config.load import complete_config, load_config
from maetool.data import ShapesDataset
from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.errors import UsageError
from maetool.pretrained.predict import load_trained
from maetool.registry import MODELS
from maetool.weights.write import write_checkpoint

CONFIG = "configs/finetune/vit-t_shapes.py"
SMALL = ["model.encoder.depth=1", "model.encoder.embed_dim=32", "model.encoder.num_heads=2"]
SMALL += ["model.encoder.patch_size=8", "val_dataloader.dataset.num_samples=40"]
# Reads no image files of the user's, or reads those of a config, which gives max_pixels.
WITHOUT = {"train", "test", "compare", "benchmark", "doctor", "make_shapes", "plot_logs", "repeat_step"}
WITHOUT |= {
    "report",  # reads the config of the run
    "convert_checkpoint",
    "convert_tokenizer",
    "export_encoder",
    "list_configs",
    "list_components",
    "print_config",
}


@pytest.fixture(scope="module")
def checkpoint(repository, tmp_path_factory):
    cfg = load_config(repository / CONFIG, SMALL)
    complete_config(cfg)
    path = tmp_path_factory.mktemp("classifier") / "x.pth"
    meta = {"cfg": cfg.pretty_text, "dataset_meta": ShapesDataset.metainfo}
    write_checkpoint({"meta": meta, "state_dict": MODELS.build(cfg.model).state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of two classes, each of ten images of 32 x 32 pixels and one of 40 x 40."""
    root = tmp_path_factory.mktemp("data")
    for part in ("train", "val"):
        for number in range(22):
            path = root / part / "ab"[number % 2] / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40) if number >= 20 else (32, 32), (10 * number, 0, 0)).save(path)
    return root


@pytest.fixture
def call(monkeypatch, repository, capsys):
    def call(name, *arguments):
        monkeypatch.chdir(repository)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        import_module(f"maetool.commands.{name}").main()
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize(("limit", "broken"), [([], 0), (["--max-pixels", 1600], 0), (["--max-pixels", 1599], 2)])
def test_of_features(call, checkpoint, folder, tmp_path, limit, broken):
    data = ["--data", folder / "val", "--out", tmp_path / "f.npz", "--workers", 0]
    assert f" {broken} unreadable." in call("extract_features", checkpoint, *data, *limit)


def test_of_a_quick_evaluation(call, checkpoint, folder):
    said = call("quick_eval", checkpoint, "--data", folder, "--workers", 0, "--max-pixels", 1599)
    assert said.count("2 of them cannot be read") == 2
    assert "cannot be read" not in call("quick_eval", checkpoint, "--data", folder, "--workers", 0)


def test_of_a_prediction(call, checkpoint, folder, tmp_path):
    image, out = folder / "val" / "a" / "20.png", tmp_path / "out"
    arguments = [CONFIG, checkpoint, image, "--out", out, "--cfg-options", *SMALL, "--max-pixels"]
    with pytest.raises(UsageError, match=r"more than max_pixels=1,599 allows.*\(--max-pixels of a tool\)"):
        call("predict", *arguments, 1599)
    assert "Wrote 1 picture and predictions.json" in call("predict", *arguments, 1600)


def test_of_the_validation_data_holds_for_a_prediction(repository, checkpoint, folder):
    cfg = load_config(repository / CONFIG, SMALL)
    assert load_trained(cfg, checkpoint).max_pixels == MAX_PIXELS
    cfg.val_dataloader.dataset = {"type": "ImageFolderDataset", "root": str(folder), "max_pixels": 99}
    assert load_trained(cfg, checkpoint).max_pixels == 99


def test_of_masks(call, folder, tmp_path):
    arguments = ["configs/mae/vit-t_shapes.py", "--draws", 8, "--out", tmp_path / "m.png", "--max-pixels", 1023]
    with pytest.raises(UsageError, match="max_pixels=1,023"):
        call("browse_masks", *arguments, "--data", folder)
    with pytest.raises(UsageError, match="--max-pixels applies to the images of --data"):
        call("browse_masks", *arguments)


@pytest.mark.parametrize("name", ["fit_centroids", "visualize_reconstruction"])
def test_of_the_data_of_a_config(call, folder, tmp_path, monkeypatch, name):
    def seen(cfg, *_):
        raise KeyError([loader.dataset.get("max_pixels") for loader in (cfg.train_dataloader, cfg.val_dataloader)])

    monkeypatch.setattr("maetool.engine.centroids.fit_centroids", seen)
    monkeypatch.setattr("maetool.engine.launch.build_dataset", seen)
    monkeypatch.setattr("maetool.pretrained.model.load_model", lambda *_: None)
    monkeypatch.setattr("maetool.pretrained.reading.reading_of", lambda *_: {})
    config = ["configs/mae/vit-t_shapes.py"] + ["c.pth"] * (name != "fit_centroids")
    arguments = [*config, "--out", tmp_path / "x.png", "--max-pixels", 1000]
    with pytest.raises(KeyError, match=r"\[1000, None\]" if name == "fit_centroids" else r"\[None, 1000\]"):
        call(name, *arguments, "--data", folder)
    with pytest.raises(UsageError, match="--max-pixels applies to image files, but the dataset is ShapesDataset"):
        call(name, *arguments)


@pytest.mark.parametrize("name", sorted(set(commands.command_names()) - WITHOUT))
def test_no_command_that_reads_images_lacks_it(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit):
        import_module(f"maetool.commands.{name}").parse_args()
    assert f"(default: {MAX_PIXELS:,})" in " ".join(capsys.readouterr().out.split())
