"""tools/compare.py: trains what is missing, goes on where it stopped, tells what came out."""

import json
import subprocess
import sys

from maetool.engine.compare import collect, draw, to_markdown

COMMON = ["train_dataloader.dataset.num_samples=128", "train_cfg.max_epochs=2", "train_cfg.val_interval=2"]
COMMON += ["val_dataloader.dataset.num_samples=40", "val_cfg.bank_dataloader.dataset.num_samples=40"]


def compare(repository, out, *arguments):
    command = [sys.executable, "tools/compare.py", "configs/mae/vit-t_shapes.py", "--out", str(out), "--seeds", "1"]
    command += ["--common", *COMMON, *arguments]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=200)


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
    found = collect(tmp_path, ["random", "grid"])
    assert all(len(values) == 1 for metrics in found.values() for values in metrics.values())
    config = (tmp_path / "grid" / "seed_0" / "vit-t_shapes.py").read_text()
    assert "GridMasker" in config


def test_a_wrong_option_is_told_before_anything_is_trained(repository, tmp_path):
    result = compare(repository, tmp_path / "out", "--run", "random", "--run", "x modle.masker.type=GridMasker")
    assert result.returncode == 2
    assert "no `modle.masker.type`" in result.stderr
    assert not (tmp_path / "out").exists()


def test_table_and_plot(tmp_path):
    for seed, knn in ((0, 50.0), (1, 60.0)):
        folder = tmp_path / "a" / f"seed_{seed}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"options": [], "kNN %": knn, "images/s": 1000.4}))
    found = collect(tmp_path, ["a", "b"])
    text = to_markdown(found)
    assert "| a | 2 | 55.0 (50.0 to 60.0) |" in text
    assert "1000 (1000 to 1000)" in text
    assert "| b | 0 |" in text
    draw(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").is_file()
