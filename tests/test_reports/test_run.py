"""The page of runs: what it holds, what it says of runs that lack something, and that it stays small."""

import json
import re
import shutil

import pytest
import torch
from test_engine.runs import make_runner

from maetool.config.origin import trace
from maetool.errors import UsageError
from maetool.reports import run_page
from maetool.reports.command import Command, read_command, record_command
from maetool.reports.facts import grouped, read_facts, runs_in
from maetool.weights.read import read_checkpoint
from maetool.weights.write import write_checkpoint

MAIL = 3_000_000  # bytes
FINETUNE = "configs/finetune/vit-t_shapes.py"


@pytest.fixture(scope="module")
def runs(repository, tmp_path_factory):
    """Return the folder of two rows, one with two seeds, and a classifier; one run of each kind is trained."""
    out = tmp_path_factory.mktemp("runs")
    options = ["default_hooks.logger.interval=1", "val_dataloader.dataset.num_samples=30", "train_cfg.max_epochs=2"]
    options.append("train_cfg.val_interval=2")
    make_runner(repository, out / "mae/seed_0", options=options).train()
    make_runner(repository, out / "classifier", config=FINETUNE, options=options).train()
    origins = {name: origin for name, _, origin in trace(repository / "configs/mae/vit-t_shapes.py")}
    command = Command(["maetool::mae/vit-t_shapes.py", "--cfg-options", "a b=1"], origins)
    record_command(next((out / "mae/seed_0").glob("*/vis_data")), command)
    changed_copy(out, "mae/seed_1", {"randomness": {"seed": 1}})
    changed_copy(out, "block/seed_0", {"model": {"masker": {"type": "BlockMasker"}}})
    return out


def changed_copy(out, name, sections, added=0.5):
    """Copy the run of MAE as one whose config and losses differ."""
    shutil.copytree(out / "mae/seed_0", out / name)
    for path in (out / name).glob("*.pth"):
        state = read_checkpoint(path)
        config = json.loads(state["meta"]["config"])
        for section, parts in sections.items():
            config[section] |= parts
        state["meta"]["config"] = json.dumps(config)
        write_checkpoint(state, path)
    for path in (out / name).glob("*/vis_data/scalars.json"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines = [{k: v + added if k == "loss" else v for k, v in line.items()} for line in lines]
        path.write_text("\n".join(map(json.dumps, lines)) + "\n")


def part(page, title):
    """Return a section of a page."""
    return page[page.index(f">{title}</h2>") :].split("<h2 ")[0]


def headings(page):
    return re.findall(r"<h2 [^>]*>([^<]*)</h2>", page)


def test_a_run_of_pretraining_has_all_sections(runs):
    page = run_page([runs / "mae/seed_0"], 20)
    assert headings(page) == [
        *("Results", "Curves", "Pictures of training", "Masks", "Worst reconstructions", "Nearest neighbours"),
        *("Map of the features", "Features of patches", "Attention", "Confusion", "Worst cases"),
        *("Config", "Versions", "Commands"),
    ]
    assert len(page.encode()) < MAIL
    assert "left out" not in page
    assert "maetool train maetool::mae/vit-t_shapes.py --cfg-options &#x27;a b=1&#x27;" in page
    assert re.search(r"<td>model\.encoder\.embed_dim</td><td[^>]*>\d+</td><td>configs/\S+\.py:\d+</td>", page)
    assert str(torch.__version__) in page


def test_a_classifier_is_judged_by_its_own_predictions(runs):
    page = run_page([runs / "classifier"], 20)
    assert "By the classifier:" in page and "Masks" not in headings(page)


def test_seeds_are_one_row_with_their_spread(runs):
    page = run_page([runs])
    assert headings(page)[:3] == ["Results", "Differences of the configs", "Curves"]
    lines = re.findall(r"<tr>(.*?)</tr>", part(page, "Results"))[1:]
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", line) for line in lines]
    assert [(row[0], row[1]) for row in rows] == [("block", "1"), ("mae", "2")]
    logs = [read_facts(runs / f"mae/seed_{seed}").logs["loss"] for seed in (0, 1)]
    low, high = sorted(each[max(each)] for each in logs)
    assert rows[1][3] == f"{(low + high) / 2:.3f} ({low:.3f} to {high:.3f})" and "(" not in rows[0][3]
    differences = re.findall(r"<td>([^<']*)</td>", part(page, "Differences of the configs"))
    assert "model.masker.type" in differences and "randomness.seed" not in differences
    assert "the shade is the range of the seeds" in page and len(page.encode()) < MAIL


def test_runs_are_grouped_by_their_config_and_not_by_their_place(runs, tmp_path):
    for seed in (0, 1):
        shutil.copytree(runs / f"mae/seed_{seed}", tmp_path / f"copy{seed}")
    groups = grouped([read_facts(folder) for folder in (tmp_path / "copy0", runs / "block/seed_0", tmp_path / "copy1")])
    assert {name: len(group) for name, group in groups.items()} == {"copy0": 2, "block": 1}
    assert runs_in([runs]) == [runs / "block/seed_0", runs / "mae/seed_0", runs / "mae/seed_1"]


def test_a_run_without_a_readable_checkpoint_keeps_its_curves(runs, tmp_path):
    shutil.copytree(runs / "block/seed_0", tmp_path / "run")
    for path in (tmp_path / "run").glob("*.pth"):
        path.write_bytes(path.read_bytes()[:1000])
    page = run_page([tmp_path / "run"])
    assert headings(page)[:2] == ["Results", "Curves"] and "can be read" in page
    page = run_page([tmp_path / "run", runs / "mae/seed_0", runs / "classifier"])
    differences = re.findall(r"<td>([^<]*)</td>", part(page, "Differences of the configs"))
    assert "model.type" in differences and "work_dir" not in differences
    assert "Differences of the configs" not in run_page([tmp_path / "run", runs / "mae/seed_0"])


def test_no_class_of_a_checkpoint_is_imported_by_its_path(runs, tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("raise SystemExit('this was run')")
    shutil.copytree(runs / "mae/seed_0", tmp_path / "mae/seed_0")
    changed_copy(tmp_path, "run", {"val_dataloader": {"dataset": {"type": "planted.Data"}}})
    monkeypatch.syspath_prepend(tmp_path)
    assert "They are left out: " in run_page([tmp_path / "run"])


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no logs of a run: pass work folders"):
        run_page([tmp_path])


@pytest.mark.parametrize("content", ["", "[]", '{"arguments": 3, "origins": {}}', '{"arguments": [1], "origins": {}}'])
def test_a_damaged_command_is_left_out(tmp_path, content):
    folder = tmp_path / "1/vis_data"
    record_command(folder, Command(["a"], {"x": "y"}))
    assert read_command(tmp_path).line == "maetool train a"
    (folder / "command.json").write_text(content)
    assert read_command(tmp_path) is None
