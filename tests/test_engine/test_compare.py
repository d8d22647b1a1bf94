"""tools/compare.py: trains what is missing, goes on where it stopped, tells what came out."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from warm import run_warm

from maetool.compat import usable_cores
from maetool.config.load import load_config
from maetool.engine.sweep import (
    METRICS,
    Row,
    collect,
    label_curves,
    over_labels,
    over_values,
    rows_of,
    run_all,
    to_markdown,
    value_curves,
    with_finetuning,
)
from maetool.errors import UsageError
from maetool.visualization.classification import draw_sweep
from maetool.visualization.comparison import draw
from maetool.visualization.curves import read_logs

CLASSIFIER = {"top-1 %", "mean average precision %", "mean IoU %", "box AP %", "mask AP %"}
OTHERS = {
    f"{untrained}{title} %"
    for untrained in ("", "untrained ")
    for title in ("top subspace", "rest", "mean IoU of kNN on patches")
} | {f"linear probe on the {part} of raw pixels %" for part in ("top subspace", "rest")}

COMMON = ["train_dataloader.dataset.num_samples=128", "train_cfg.max_epochs=2", "train_cfg.val_interval=2"]
COMMON += ["val_dataloader.dataset.num_samples=40", "val_cfg.bank_dataloader.dataset.num_samples=40"]


MAE, MASKDISTILL = "configs/mae/vit-t_shapes.py", "configs/maskdistill/vit-t_shapes.py"


def compare(repository, out, *arguments, configs=(MAE,)):
    command = ["tools/compare.py", *configs, "--out", out, "--seeds", "1", "--common", *COMMON, *arguments]
    return run_warm(command, repository)


def test_compare_goes_on_where_it_stopped(repository, tmp_path):
    grid = "grid model.masker.type=GridMasker"
    first = compare(repository, tmp_path, "--run", "random")
    assert first.returncode == 0, first.stderr[-2000:]
    before = (tmp_path / "random" / "seed_0" / "result.json").stat().st_mtime_ns
    second = compare(repository, tmp_path, "--run", "random", "--run", grid)
    assert second.returncode == 0, second.stderr[-2000:]
    assert (tmp_path / "random" / "seed_0" / "result.json").stat().st_mtime_ns == before
    assert (tmp_path / "comparison.png").is_file()
    assert "| grid | 1 |" in (tmp_path / "table.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "<td>model.masker.type</td>" in page and "<td>grid</td>" in page and "configs/mae/vit-t_shapes.py" in page
    found = collect(tmp_path, ["random", "grid"])
    for metrics in found.values():
        assert {title for title, values in metrics.items() if values} == set(METRICS) - CLASSIFIER - OTHERS
        assert all(len(values) == 1 for values in metrics.values() if values)
    logs = read_logs(tmp_path / "grid" / "seed_0")
    assert found["grid"]["untrained kNN %"] == [logs["val/knn"][0]]
    assert found["grid"]["kNN on raw pixels %"] == list(logs["val/knn_pixels"].values())
    assert found["grid"]["linear probe %"] == [logs["val/linear_probe"][4]]
    config = (tmp_path / "grid" / "seed_0" / "vit-t_shapes.py").read_text()
    assert "GridMasker" in config


def test_each_row_and_an_untrained_encoder_are_fine_tuned(monkeypatch, repository, tmp_path):
    monkeypatch.chdir(repository)
    warm = SimpleNamespace(run=lambda command, **_: run_warm(command[1:], "."))
    monkeypatch.setattr("maetool.engine.sweep.runs.subprocess", warm)
    small = [
        "train_dataloader.dataset.num_samples=64",
        "train_cfg.max_epochs=1",
        "val_dataloader.dataset.num_samples=40",
    ]
    stage = f"configs/finetune/vit-t_shapes.py {' '.join(small)} param_scheduler.0.warmup_epochs=0"
    other = ["model.encoder.class_token=False", "model.encoder.mlp_ratio=2"]  # than the fine-tuning's
    rows = with_finetuning({"mae": Row(MAE, [*COMMON, "train_cfg.val_interval=2", *other])}, stage)
    assert run_all(rows, 1, tmp_path) == {}
    found = collect(tmp_path, list(rows))
    assert [len(metrics["fine-tuned top-1 %"]) for metrics in found.values()] == [1, 1]
    assert found["mae"]["kNN %"] and found["mae"]["GB"] and not found["scratch"]["kNN %"] and not found["scratch"]["GB"]
    logs = read_logs(tmp_path / "mae/seed_0/finetuned")
    assert found["mae"]["fine-tuned top-1 %"] == [logs["val/top1"][max(logs["val/top1"])]]
    assert "init_from" not in (tmp_path / "scratch/seed_0/vit-t_shapes.py").read_text()
    given = Path(load_config(tmp_path / "mae/seed_0/finetuned/vit-t_shapes.py").init_from)
    assert given.parent == tmp_path / "mae/seed_0"
    encoder = load_config(tmp_path / "mae/seed_0/finetuned/vit-t_shapes.py").model.encoder
    assert (encoder.class_token, encoder.mlp_ratio) == (False, 2)
    with pytest.raises(UsageError, match=r"a finished run of other settings .finetune .*drop_path_rate=0.1"):
        run_all(with_finetuning({"mae": rows["mae"]}, f"{stage} model.encoder.drop_path_rate=0.1"), 1, tmp_path)


@pytest.mark.parametrize(
    ("rows", "finetune", "sentence"),
    [
        ({"a": Row(MAE)}, " ", "must be a config and options"),
        ({"a": Row(MAE)}, "model.x=1", "must be a config and options"),
        ({"a": Row(MAE)}, "x.py y.py", "must be a config and options"),
        ({"a": Row(MAE)}, f"{MAE} model.encoder.depth=1", r"MaskedImageModel would go on pretraining, but must be"),
        ({"scratch": Row(MAE)}, "x.py", 'A row is called "scratch"'),
    ],
)
def test_what_is_no_fine_tuning(rows, finetune, sentence):
    with pytest.raises(UsageError, match=sentence):
        with_finetuning(rows, finetune)


def test_a_wrong_option_is_told_before_anything_is_trained(repository, tmp_path):
    result = compare(repository, tmp_path / "out", "--run", "random", "--run", "x modle.masker.type=GridMasker")
    assert result.returncode == 2
    assert "no `modle.masker.type`" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_row_that_fails_is_told_at_once_not_tried_again_and_stops_no_other(repository, tmp_path):
    damaged = tmp_path / "a" / "seed_0" / "epoch_1.pth"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("no checkpoint")
    finished(tmp_path, "b", seed_0=70.0, seed_1=70.0)
    result = compare(repository, tmp_path, "--seeds", "2", "--run", "a", "--run", "b")
    assert result.returncode == 2
    assert result.stderr.count("a: seed 0 failed: None of the 1 checkpoints in ") == 1
    assert not (tmp_path / "a" / "seed_1").exists()
    assert "1 of 2 rows failed (a): the table gives the reasons" in result.stderr
    failed, trained = (tmp_path / "table.md").read_text().splitlines()[2:]
    assert failed.startswith("| a | 0 |") and "| seed 0 failed: None of the 1 checkpoints" in failed
    assert trained.startswith("| b | 2 | 70.0 |")


def test_rows_that_cannot_be_trained_are_all_told_before_the_first_is(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(repository)
    runs = {
        "warm": ["train_cfg.max_epochs=1"],
        "good": [],
        "all": ["model.masker.mask_ratio=2"],
        "teacher": ["init_from=nowhere.pth"],
        "done": ["model.masker.mask_ratio=3"],
    }
    finished(tmp_path, "done", seed_0=70.0)
    monkeypatch.setattr("maetool.engine.sweep.runs._train", lambda *_: pytest.fail("a training began"))
    with pytest.raises(UsageError) as info:
        run_all(rows_of([MAE], runs, COMMON[::2]), 1, tmp_path)
    sentence = str(info.value)
    assert sentence.startswith("3 of 5 rows cannot be trained, so none was: warm: The warm-up takes 1 epoch of 1")
    assert "; all: mask_ratio is 2, but must be" in sentence and "; teacher: " in sentence and "nowhere.pth" in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_no_picture_of_nothing(tmp_path):
    assert not draw(collect(tmp_path, ["a"]), tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()


def test_rows_are_called_by_their_runs_and_their_configs():
    runs = {"a": ["x=1"], "b": []}
    assert rows_of([MAE], runs, ["y=2"]) == {"a": Row(MAE, ["y=2", "x=1"]), "b": Row(MAE, ["y=2"])}
    assert list(rows_of([MAE], {})) == ["mae_vit-t_shapes"]
    names = ["mae_vit-t_shapes_a", "mae_vit-t_shapes_b", "maskdistill_vit-t_shapes_a", "maskdistill_vit-t_shapes_b"]
    assert list(rows_of([MAE, MASKDISTILL], runs)) == names


@pytest.mark.parametrize(
    ("configs", "numbers", "sentence"),
    [
        ([MAE, MAE], {}, "Two rows would be called mae_vit-t_shapes"),
        (["configs/mae/vit-t_shape.py"], {}, "There is no config configs/mae/vit-t_shape.py"),
        ([MAE], {"seeds": 0}, "--seeds is 0, but must be at least 1"),
        ([MAE], {"jobs": 0}, "--jobs is 0, but must be at least 1"),
    ],
)
def test_bad_input_is_told_before_anything_is_trained(repository, monkeypatch, tmp_path, configs, numbers, sentence):
    monkeypatch.chdir(repository)
    with pytest.raises(UsageError, match=sentence) as info:
        run_all(rows_of(configs, {}), **{"seeds": 1, "out": tmp_path / "out", **numbers})
    assert "\n" not in str(info.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("knn", "probe", "note"),
    [
        (13.8, 24.5, "**worse than untrained**"),
        (17.0, 63.0, "**not clearly better than untrained**"),
        (13.8, 70.0, ""),
        (40.0, 60.0, ""),
    ],
)
def test_a_row_that_learned_nothing_is_called_so(knn, probe, note):
    metrics = dict.fromkeys(METRICS, ())
    metrics |= {"kNN %": [knn], "untrained kNN %": [16.0], "linear probe %": [probe]}
    metrics |= {"untrained linear probe %": [63.5]}
    head, _, row = to_markdown({"a": metrics}).splitlines()
    assert head.endswith("| note |") == bool(note)
    assert row.endswith(f"| {note} |") or not note


def test_table_and_plot(tmp_path):
    for seed, knn in ((0, 50.0), (1, 60.0)):
        folder = tmp_path / "a" / f"seed_{seed}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"kNN %": knn, "images/s": 1000.4}))
    found = collect(tmp_path, ["a", "b"])
    text = to_markdown(found)
    assert "| a | 2 | 55.0 (50.0 to 60.0) |" in text
    assert "| 1000 |" in text
    assert "| b | 0 |" in text
    draw(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").is_file()


def finished(out, name, **seeds):
    for seed, top1 in seeds.items():
        folder = out / name / seed
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"top-1 %": top1}))


def test_accuracy_over_the_number_of_labels(repository, tmp_path):
    config = str(repository / "configs/finetune/vit-t_shapes.py")
    finished(tmp_path, "pretrained_0.1", seed_0=70.0, seed_1=74.0)
    finished(tmp_path, "pretrained_1", seed_0=90.0, seed_1=91.0)
    finished(tmp_path, "scratch_0.1", seed_0=30.0, seed_1=34.0)
    finished(tmp_path, "scratch_1", seed_0=80.0, seed_1=81.0)
    labels = ["0.1 train_cfg.max_epochs=50", "1"]
    command = ["tools/compare.py", config, "--out", str(tmp_path), "--seeds", "2", "--run", "scratch"]
    command += ["--run", "pretrained init_from=x.pth", "--labels", *labels]
    result = run_warm(command, repository)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "| pretrained_0.1 | 2 | 72.0 (70.0 to 74.0) |" in result.stdout
    assert "validation loss" not in result.stdout  # which these results do not have
    picture = np.asarray(Image.open(tmp_path / "labels.png").convert("RGB")).reshape(-1, 3)
    for colour in ((31, 119, 180), (255, 127, 14)):  # a line for each run
        assert (picture == colour).all(axis=1).sum() > 100
    rows = rows_of([config], {"scratch": [], "pretrained": ["init_from=x.pth"]})
    shares = over_labels(rows, {"0.1": ["train_cfg.max_epochs=50"], "1": []})
    options = ["train_dataloader.dataset.labels_fraction=0.1", "init_from=x.pth", "train_cfg.max_epochs=50"]
    assert shares["0.1"]["pretrained_0.1"] == Row(config, options)
    metric, curves = label_curves(rows, shares, tmp_path)
    assert metric == "top-1 %"
    assert curves["scratch"] == {400: [30.0, 34.0], 4000: [80.0, 81.0]}


@pytest.mark.parametrize("share", ["0", "2", "ten", "-0.1"])
def test_a_share_of_labels_that_is_none(share):
    with pytest.raises(UsageError, match=f"--labels got the share {share}: give a number above 0"):
        over_labels({"a": Row(MAE)}, {share: []})


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        ({"options": ["train_cfg.max_epochs=1"]}, "options .'train_cfg.max_epochs=1'., now .'train_cfg.max_epochs=2'."),
        ({"options": ["train_cfg.max_epochs=2"], "data": "photos"}, "data photos, now None"),
    ],
)
def test_a_finished_run_of_a_row_that_changed_is_not_kept(monkeypatch, repository, tmp_path, stored, named):
    monkeypatch.chdir(repository)
    (tmp_path / "a/seed_0").mkdir(parents=True)
    (tmp_path / "a/seed_0/result.json").write_text(json.dumps({**stored, "kNN %": 60.0}))
    with pytest.raises(UsageError, match=rf"a finished run of other settings \({named}\)"):
        run_all({"a": Row(MAE, ["train_cfg.max_epochs=2"])}, 1, tmp_path)


def test_a_sweep_over_numbers(monkeypatch, repository, tmp_path):
    monkeypatch.chdir(repository)
    rows = rows_of([MAE], {"a": [], "b": ["model.decoder.depth=1"]}, ["train_cfg.max_epochs=2"])
    key, planned = over_values(rows, "model.masker.mask_ratio=0.75, 0.5,1e-1")
    assert key == "model.masker.mask_ratio" and list(planned) == [0.1, 0.5, 0.75]
    options = ["train_cfg.max_epochs=2", "model.decoder.depth=1", "model.masker.mask_ratio=0.5"]
    assert planned[0.5]["b_mask_ratio_0.5"] == Row(MAE, options)
    for value, knn in (("0.5", 60.0), ("0.75", 70.0)):
        (tmp_path / f"a_mask_ratio_{value}/seed_0").mkdir(parents=True)
        numbers = {"kNN %": knn, "untrained kNN %": 16.0}
        (tmp_path / f"a_mask_ratio_{value}/seed_0/result.json").write_text(json.dumps(numbers))
    metric, curves, untrained = value_curves(rows, planned, tmp_path)
    assert (metric, curves, untrained) == ("kNN %", {"a": {0.5: [60.0], 0.75: [70.0]}}, [16.0, 16.0])
    draw_sweep(curves, metric, key, tmp_path / "sweep.png", untrained)
    assert Image.open(tmp_path / "sweep.png").size[0] > 300


@pytest.mark.parametrize("sweep", ["a.b", "a.b=", "=1,2", "a.b=1", "a.b=1,1.0", "a.b=x,y", "a.b=1,,2"])
def test_a_sweep_that_is_none(sweep):
    with pytest.raises(UsageError, match=r"--sweep got .* two or more different numbers"):
        over_values({"a": Row(MAE)}, sweep)


def test_all_rows_are_trained_on_the_users_data(monkeypatch, repository, tmp_path):
    monkeypatch.chdir(repository)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in "ab":
        (tmp_path / "mine" / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(np.full((20, 20, 3), number, np.uint8)).save(tmp_path / "mine" / name / f"{number}.png")
    finetune = "configs/finetune/vit-t_shapes.py"
    rows = rows_of([finetune], {"a": []}, data=str(tmp_path / "mine"))
    assert rows["a"].load().train_dataloader.dataset.root == str(tmp_path / "mine")
    assert over_labels(rows, {"0.5": []})["0.5"]["a_0.5"].data == str(tmp_path / "mine")
    commands, hindered = [], []
    monkeypatch.setattr("maetool.engine.sweep.runs.what_hinders", lambda runs: hindered.extend(runs.values()) or {})
    monkeypatch.setattr("maetool.engine.sweep.runs.write_result", lambda *_: None)
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(subprocess, "run", lambda command, **more: commands.append((command, more["env"])) or done)
    for threads in ("1", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", threads) if threads else monkeypatch.delenv("OMP_NUM_THREADS")
        run_all(rows, 1, tmp_path / "out")
    assert hindered[0][2] == str(tmp_path / "mine")
    command, environment = commands[0]
    assert command[command.index("--data") + 1] == str(tmp_path / "mine")
    assert environment["OMP_NUM_THREADS"] == "1"  # as the user says
    assert commands[1][1]["OMP_NUM_THREADS"] == str(usable_cores())


def test_untrained_encoders_are_one_line(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr("maetool.visualization.comparison.save_figure", lambda figure, path: figures.append(figure))
    results = {
        name: {"kNN %": [knn], "untrained kNN %": [first]} for name, knn, first in (("a", 50, 10), ("b", 60, 20))
    }
    assert draw(results, tmp_path / "x.png")
    dots, line = figures[0].axes[0].lines
    assert list(dots.get_ydata()) == [50, 60] and set(line.get_ydata()) == {15} and line.get_linestyle() == "--"
