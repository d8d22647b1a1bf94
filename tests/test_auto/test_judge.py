"""Judging without labels, and the text of a finished training."""

import shlex
from dataclasses import replace
from math import isfinite

import pytest
import torch
from people_data import Data

from maetool.auto.data import look
from maetool.auto.judge import Judge
from maetool.auto.rules import Machine, first_plan, schedule
from maetool.auto.worth import next_commands, worth_of
from maetool.config.load import load_config, load_for
from maetool.config.prepare import prepare_run
from maetool.errors import UsageError
from maetool.pretrained.frozen import build_frozen
from maetool.pretrained.initial import load_initial
from maetool.registry import DATASETS, MODELS
from maetool.weights.write import write_checkpoint

ENCODER = {"type": "VisionTransformer", "img_size": 8, "patch_size": 2, "embed_dim": 16, "depth": 1, "num_heads": 2}
SECTION = {
    "encoder": {**ENCODER, "in_chans": 1},
    "data_preprocessor": {"type": "ImagePreprocessor", "mean": [90.0], "std": [60.0]},
}


@pytest.fixture
def place(folder):
    return {"type": "ImageFolderDataset", "root": str(folder / "train")}


def test_a_random_encoder_finds_crops_again_and_a_collapsed_one_is_told(place):
    torch.manual_seed(0)
    model = build_frozen(SECTION)
    good = Judge(place, None)(model, 0.5)
    assert good.stability > 3 * 100 / 60  # by chance one of 60
    assert good.score == good.stability
    assert good.failed(500) == ""
    model.encoder.norm.weight.data.zero_()
    assert "collapsed" in Judge(place, None)(model, 0.5).failed(40)


def test_a_loss_of_a_constant_has_learned_nothing_unless_the_training_has_just_begun(place):
    verdict = Judge(place, None)(build_frozen(SECTION), 1.0)
    assert "learned nothing" in verdict.failed(200)
    assert verdict.failed(199) == ""  # normalised pixels and edges are still on their way there
    assert "not finite" in replace(verdict, loss=float("nan")).failed(40)


def test_the_same_images_are_compared_every_time(place):
    model = build_frozen(SECTION)
    assert Judge(place, None)(model, 0.5) == Judge(place, None)(model, 0.5)


@pytest.mark.parametrize(("task", "kind"), [("segment", "segmentation"), ("detect", "detection")])
def test_what_cannot_be_judged_by_labels_is_told_and_names_the_next_command(folder, tmp_path, task, kind):
    torch.manual_seed(0)
    meta = {"cfg": f"model = {dict(type='MaskedImageModel', **SECTION)!r}"}
    weights = {f"encoder.{name}": value for name, value in build_frozen(SECTION).encoder.state_dict().items()}
    write_checkpoint({"meta": meta, "state_dict": weights}, tmp_path / "encoder.pth")
    data = look(str(folder), None, task, 1)
    text = worth_of(tmp_path / "encoder.pth", data, task)
    assert "untrained encoder" in text
    assert "only a training on masks or boxes can tell" in text and "--labels" not in text  # which the task refuses
    following = next_commands(tmp_path / "encoder.pth", str(folder), None, task, data)
    assert following.endswith(f"maetool check {folder} --task {kind}")


def write_truth(task, truth):
    """Write what a task is trained on, and return what --data takes."""
    if task == "classify":
        truth.table("truth.csv", "path,label", *(f"{number}.png,{'ab'[number % 2]}" for number in range(20)))
        return truth.root / "truth.csv"
    truth.coco(number=8) if task == "detect" else truth.masks("images", "masks", *[[0, 1]] * 8)
    return truth.root


@pytest.mark.parametrize("task", ["classify", "segment", "detect"])
def test_the_next_training_takes_the_encoder_and_the_data(tmp_path, task):
    truth = write_truth(task, Data(tmp_path / "truth"))
    data = look(str(truth), None, task, 1)
    plan = first_plan(data.facts, Machine(False, 1), task, data.place, "A plan.")
    cfg = load_config(plan.changed(*schedule(9, data.facts, 1.0, 4)).write(tmp_path / "plan.py"))
    prepare_run(cfg)
    state = MODELS.build(cfg.model).state_dict()
    write_checkpoint({"meta": {"cfg": cfg.pretty_text}, "state_dict": state}, tmp_path / "encoder.pth")
    command = next_commands(tmp_path / "encoder.pth", str(truth), None, task, data).splitlines()[-1]
    _, _, config, *words = shlex.split(command)
    options = words[words.index("--cfg-options") + 1 :]
    assert words[:4] == ["--data", str(truth), "--init", str(tmp_path / "encoder.pth")]
    following, _ = load_for(config, options, str(truth), {"work_dir": str(tmp_path / "run")})
    prepare_run(following)
    assert len({option.partition("=")[0] for option in options}) == len(options)  # none is there twice
    if task == "classify":  # cropped alike, and not mirrored
        assert following.train_dataloader.dataset.pipeline == cfg.train_dataloader.dataset.pipeline
    report = load_initial(MODELS.build(following.model), tmp_path / "encoder.pth")
    assert report.share > 0.99  # a detector's relative positions begin at zero
    assert not report.resized


def table(folder, rows):
    path = folder.parent / "table.csv"
    path.write_text("path,label\n" + "".join(f"{folder}/train/{'ab'[i % 2]}/{i}.png,{label}\n" for i, label in rows))
    return str(path)


def test_labels_of_a_table_leave_all_images_to_train_on(folder):
    data = look(str(folder / "train"), table(folder, [(i, "xy"[i % 2]) for i in range(50)]), "classify", 1)
    assert data.facts.images == 60
    assert data.place["root"] == str(folder / "train")
    assert (data.labelled["part"], data.held_back["part"]) == ("train", "val")
    assert (data.facts.labelled, data.facts.classes, data.numbers) == (40, 2, [None])
    assert data.judging == data.labelled


def test_a_table_of_paths_alone_is_trained_on_as_a_whole(folder):
    rows = "".join(f"train/{'ab'[i % 2]}/{i}.png\n" for i in range(60))
    (folder / "paths.csv").write_text(f"path\n{rows}")
    data = look(str(folder / "paths.csv"), None, "classify", 1)
    assert (data.facts.images, data.labelled) == (60, None)


def names_in(place):
    dataset = DATASETS.build({**place, "in_chans": 1, "pipeline": []})
    return {dataset.name_of(index) for index in range(len(dataset))}


@pytest.mark.parametrize("layout", ["parts", "class folders", "a table", "labels in a table"])
def test_what_judges_candidates_holds_none_of_the_images_held_back(folder, layout):
    rows = table(folder, [(i, "xy"[i % 2]) for i in range(60)])
    arguments = {
        "parts": (str(folder), None),
        "class folders": (str(folder / "train"), None),
        "a table": (rows, None),
        "labels in a table": (str(folder / "train"), rows),
    }[layout]
    data = look(*arguments, "classify", 1)
    judging, held_back = names_in(data.judging), names_in(data.held_back)
    assert judging
    assert held_back
    roots = {data.judging.get("root"), data.held_back.get("root")}
    assert not judging & held_back or (layout == "parts" and len(roots) == 2)


def test_the_largest_size_and_many_broken_files_hold_for_all_that_is_read(folder):
    for number in range(8):
        (folder / "train/a" / f"cut_{number}.png").write_bytes(b"cut")
    data = look(str(folder), None, "classify", 1, max_pixels=64)
    for place in (data.place, data.labelled, data.held_back):
        assert place["max_pixels"] == 64
        assert place["max_broken"] == round(2 * 8 / (60 + 8), 2)
    Judge(data.place, data.judging)(build_frozen(SECTION), 0.5)
    with pytest.raises(UsageError, match=r"more than max_pixels=63 allows"):
        look(str(folder), None, "classify", 1, max_pixels=63)


def test_few_labels_do_not_choose(folder):
    data = look(str(folder / "train"), table(folder, [(i, "xy"[i % 2]) for i in range(20)]), "classify", 1)
    assert data.facts.labelled == 16
    assert data.judging is None


def test_numbers_are_predicted_as_numbers(folder):
    data = look(str(folder / "train"), table(folder, [(i, f"{i * 0.37:.2f}") for i in range(50)]), "retrieve", 1)
    model = build_frozen(SECTION)
    verdict = Judge(data.place, data.judging)(model, 0.5)
    assert verdict.judged_by.startswith("r2")
    assert data.facts.classes == 0


def test_a_class_of_one_image_is_judged_and_told(folder):
    labels = [(i, "xy"[i % 2]) for i in range(59)] + [(59, "z")]
    data = look(str(folder / "train"), table(folder, labels), "classify", 1)
    (sentence,) = (finding.sentence for finding in data.findings if finding.about == "classes")
    assert sentence.startswith("1 of 3 classes (z) have one labelled image to train on")
    assert isfinite(Judge(data.place, data.judging)(build_frozen(SECTION), 0.5).score)


def test_classes_of_one_image_each_are_refused(folder):
    for image in sorted((folder / "train").glob("*/*"))[2:]:
        image.unlink()
    (folder / "train" / "b").mkdir(exist_ok=True)
    (folder / "val" / "b" / "1.png").rename(folder / "train" / "b" / "1.png")
    next((folder / "train" / "a").iterdir()).unlink()
    with pytest.raises(UsageError, match="All 2 classes \\(a, b\\) have one labelled image to train on"):
        look(str(folder), None, "classify", 1)


def test_classes_without_an_image_to_learn_from_are_refused_before_a_training(folder):
    rows = [f"train/{'ab'[i % 2]}/{i}.png,{'xy'[i % 2]},train\n" for i in range(40)]
    (folder / "table.csv").write_text(
        "path,label,split\n" + "".join(rows) + "train/a/58.png,x,val\ntrain/b/59.png,z,val\n"
    )
    with pytest.raises(UsageError, match=r"1 of 3 classes have no image to train on \(first `z`\)"):
        look(str(folder / "table.csv"), None, "classify", 1)
    (folder / "val" / "c").mkdir()
    (folder / "val" / "a" / "0.png").rename(folder / "val" / "c" / "0.png")
    with pytest.raises(UsageError, match="The data has the class `c`"):
        look(str(folder), None, "classify", 1)
