"""What the commands write: all of a file or nothing, and a place that takes none is told before the work begins."""

import ast
import importlib
import json
import resource
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maetool import writing
from maetool.commands import command_names
from maetool.config.load import complete_config, load_config
from maetool.data import ShapesDataset
from maetool.errors import OutputError, UsageError
from maetool.registry import MODELS
from maetool.weights.write import write_checkpoint

PRETRAINED, CLASSIFIER = "configs/mae/vit-t_shapes.py", "configs/finetune/vit-t_shapes.py"
SMALL = ["model.encoder.depth=1", "model.encoder.embed_dim=32", "model.encoder.num_heads=2"]
SMALL += ["model.encoder.patch_size=8", "val_dataloader.dataset.num_samples=16"]
# Command line with the place as OUT, and how it ends; None, a folder.
COMMANDS = {
    "auto": ("IMAGES --plan --out OUT", None),
    "browse_masks": (f"{PRETRAINED} --draws 64 --out OUT", ".png"),
    "check": ("IMAGES --workers 1 --page OUT", ".html"),
    "compare": (f"{PRETRAINED} --seeds 1 --out OUT", None),
    "convert_checkpoint": ("PRETRAINED.pth --to timm --out OUT", ".safetensors"),
    "convert_tokenizer": ("tokenizer.pth --out OUT", ".pth"),
    "dataset_stats": ("IMAGES --workers 1 --broken OUT", ".txt"),
    "export_encoder": ("PRETRAINED.pth --out OUT", ".safetensors"),
    "extract_features": ("PRETRAINED.pth --data IMAGES --workers 0 --out OUT", ".npz"),
    "fit_centroids": ("configs/ccvit/vit-b_300e.py --out OUT", ".pth"),
    "make_shapes": ("OUT --layout coco --train 3 --val 1", None),
    "neighbours": ("IMAGES --init PRETRAINED.pth --workers 0 --queries 2 --k 2 --clusters 2 --out OUT", None),
    "plot_logs": ("RUN --out OUT", ".png"),
    "predict": (f"{CLASSIFIER} CLASSIFIER.pth IMAGES/a/0.png --out OUT --cfg-options SMALL", None),
    "prepare_dataset": ("IMAGES OUT --workers 1", None),
    "quick_eval": ("PRETRAINED.pth --data IMAGES --workers 0 --k 2 --json OUT", ".json"),
    "report": ("RUN --out OUT", ".html"),
    "test": (f"{CLASSIFIER} CLASSIFIER.pth --work-dir OUT --cfg-options SMALL", None),
    "train": (f"{PRETRAINED} --work-dir OUT", None),
    "visualize_reconstruction": (f"{PRETRAINED} PRETRAINED.pth --num 2 --out OUT --cfg-options SMALL", ".png"),
}
READERS = {"doctor", "list_components", "list_configs", "print_config", "repeat_step"}
LIMITS = {"dataset_stats": 10, "quick_eval": 10, "test": 16_000}  # bytes, for the size of what is written
# What needs long, or files that are not here; their writing is that of the others.
LONG = {"auto", "compare", "convert_tokenizer", "fit_centroids", "train"}


@pytest.fixture(scope="module")
def given(repository, tmp_path_factory):
    """Name to path of what the commands read."""
    folder = tmp_path_factory.mktemp("given")
    for name, config in (("PRETRAINED", PRETRAINED), ("CLASSIFIER", CLASSIFIER)):
        cfg = load_config(repository / config, SMALL)
        complete_config(cfg)
        meta = {"cfg": cfg.pretty_text, "dataset_meta": ShapesDataset.metainfo}
        write_checkpoint({"meta": meta, "state_dict": MODELS.build(cfg.model).state_dict()}, folder / f"{name}.pth")
    shapes = ShapesDataset(12, 32)
    for i in range(12):
        path = folder / "images" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shapes[i]["inputs"].permute(1, 2, 0).numpy()).save(path)
    (folder / "images" / "a" / "broken.png").write_bytes(b"broken")
    logs = folder / "run" / "1" / "vis_data" / "scalars.json"
    logs.parent.mkdir(parents=True)
    logs.write_text("".join(json.dumps({"step": i, "loss": 1 / i}) + "\n" for i in range(1, 9)))
    return {"IMAGES": f"{folder}/images", "RUN": f"{folder}/run"} | {
        name: f"{folder}/{name}" for name in ("PRETRAINED.pth", "CLASSIFIER.pth")
    }


@pytest.fixture
def call(repository, given, monkeypatch, capsys, tmp_path):
    """Run a command in this process, writing to a place; `capsys` lets it print without a file."""
    monkeypatch.chdir(repository)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(name, out):
        words = COMMANDS[name][0].split()
        for placeholder, value in {**given, "OUT": str(out)}.items():
            words = [word.replace(placeholder, value) for word in words]
        at = words.index("SMALL") if "SMALL" in words else len(words)
        monkeypatch.setattr(sys, "argv", [name, *words[:at], *(SMALL if at < len(words) else [])])
        importlib.import_module(f"maetool.commands.{name}").main()

    return call


@contextmanager
def at_most(size):
    """Let no file grow beyond so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_one_module_writes():
    """Except what takes a file that is open."""
    direct = {"write_text", "write_bytes", "imwrite", "dump"}
    files = Path(writing.__file__).parent.rglob("*.py")
    calls = {
        (path.name, node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id)
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr in direct)
            or (isinstance(node.func, ast.Name) and node.func.id == "open" and "r" not in ast.unparse(node.args[-1]))
        )
    }
    # The streams of the terminal, where they are closed, go nowhere.
    assert calls - {("cli.py", "open")} <= {("writing.py", name) for _, name in calls}, calls


def test_every_command_is_here():
    assert {*COMMANDS, *READERS} == set(command_names())


@pytest.mark.parametrize("name", COMMANDS)
def test_places_that_cannot_be_written_are_told_first(name, call, given, tmp_path, monkeypatch):
    """Before anything is read: the checkpoints are not even opened."""
    ending = COMMANDS[name][1]
    file = tmp_path / f"file{ending or ''}"
    file.write_bytes(b"as it was")
    (tmp_path / f"folder{ending or ''}").mkdir()
    in_the_way = tmp_path / f"folder{ending}" if ending else file
    for out in (file / f"below{ending or ''}", tmp_path / ("a" * 300 + (ending or "")), in_the_way):
        with pytest.raises(OutputError, match="which cannot be written") as caught:
            call(name, out)
        assert str(out) in str(caught.value)
    assert file.read_bytes() == b"as it was"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == sorted(
        (file.name, f"folder{ending or ''}")
    )


@pytest.mark.parametrize("name", [name for name, (_, ending) in COMMANDS.items() if ending is None])
def test_a_new_folder_is_not_named_like_a_file(name, call, tmp_path):
    """Whoever names a file gets no folder of that name; an older folder, or another dot in a name, is no mistake."""
    with pytest.raises(OutputError, match=r"a folder is written here, but \.XML is the ending of a file"):
        call(name, tmp_path / "out.XML")
    assert not (tmp_path / "out.XML").exists()
    (tmp_path / "old.json").mkdir()
    for folder in ("old.json", "run.v2", "2026.11"):
        assert writing.check_folder(tmp_path / folder, "--out") == tmp_path / folder


@pytest.mark.parametrize("name", sorted({*COMMANDS} - LONG))
def test_a_full_disk_leaves_nothing_that_is_half_written(name, call, tmp_path):
    ending = COMMANDS[name][1]
    out = tmp_path / f"out{ending or ''}"
    limit = LIMITS.get(name, 2000)
    with at_most(limit), pytest.raises(OutputError, match=r"could not be written \(File too large\)"):
        call(name, out)
    assert not ending or not out.exists()
    left = [path for path in tmp_path.rglob("*") if path.is_file() and "cache" not in path.parts]
    assert [path for path in left if path.suffix in (".tmp", ".part") or path.stat().st_size == limit] == []


def test_numbers_are_there_where_pictures_fail(call, tmp_path):
    with at_most(LIMITS["test"]), pytest.raises(OutputError, match=r"[a-z_]+\.png could not be written"):
        call("test", tmp_path / "test")
    assert json.loads((tmp_path / "test" / "metrics.json").read_text()).keys() >= {"top1", "loss"}
    assert {"predictions.csv", "confusion_matrix.csv"} <= {path.name for path in (tmp_path / "test").iterdir()}
    with at_most(2000), pytest.raises(OutputError, match=r"\.png could not be written"):
        call("predict", tmp_path / "predict")
    assert len(json.loads((tmp_path / "predict" / "predictions.json").read_text())) == 1


def test_json_has_no_numbers_that_other_readers_refuse():
    nan, infinite = float("nan"), float("inf")
    text = writing.to_json(
        {"a": [nan, (1.5, -infinite)], "b": {"c": np.float64("nan"), "d": None, "e": True, "f": "nan"}}
    )
    read = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert read == {"a": [None, [1.5, None]], "b": {"c": None, "d": None, "e": True, "f": "nan"}}
    assert writing.to_json([{"score": 0.5}], indent=None) == '[{"score": 0.5}]\n'


def test_a_temporary_file_follows_no_link(tmp_path):
    precious, link = tmp_path / "precious", tmp_path / "x"
    precious.write_bytes(b"as it was")
    writing.open_new(link).close()
    link.unlink()
    link.symlink_to(precious)
    with writing.open_new(link) as file:
        file.write(b"new")
    assert precious.read_bytes() == b"as it was" and not link.is_symlink()
    link.unlink()
    link.symlink_to(precious)
    writing.write_file(link, b"new")
    assert precious.read_bytes() == b"as it was" and link.read_bytes() == b"new"


def test_a_long_name_that_fits_is_written(tmp_path):
    for name in ("a" * 251 + ".txt", "ä" * 120 + ".txt"):
        path = writing.check_file(tmp_path / "new" / name, "--out")
        writing.write_text(path, "x")
        assert path.read_text() == "x"
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_device_is_written_to(capfd):
    writing.write_text(writing.check_file("/dev/stdout", "--json"), "the numbers")
    writing.write_text("/dev/null", "x")
    assert capfd.readouterr().out == "the numbers"


def test_files_are_as_others_may_read_them(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    writing.write_file(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["plot_logs", "browse_masks", "visualize_reconstruction"])
def test_pictures_of_other_formats_are_refused(name, call, tmp_path):
    with pytest.raises(UsageError, match=r"but must end in \.png"):
        call(name, tmp_path / "x.abc")


def test_a_picture_has_the_format_of_its_name(call, tmp_path):
    call("plot_logs", tmp_path / "new" / "x.pdf")
    assert (tmp_path / "new" / "x.pdf").read_bytes().startswith(b"%PDF")
    call("visualize_reconstruction", tmp_path / "x.jpg")
    assert Image.open(tmp_path / "x.jpg").format == "JPEG"
    call("extract_features", tmp_path / "x.npz")
    assert np.load(tmp_path / "x.npz")["features"].shape == (12, 32)
