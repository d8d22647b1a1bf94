"""`maetool auto` from a folder to a judgement, with trainings of a few steps."""

import re
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from maetool.auto import rules, short
from maetool.auto import run as running
from maetool.auto.data import Data
from maetool.auto.facts import Facts
from maetool.cli import StoppedError
from maetool.commands import auto
from maetool.errors import UsageError


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run the command in this process with short trainings, and return what it printed."""
    monkeypatch.setattr(running, "_TIMED", 7)
    monkeypatch.setattr(rules, "_STEPS", 12)
    monkeypatch.setattr(rules, "_PASSES", 0)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["auto", *map(str, arguments), "--out", str(tmp_path / "out")])
        auto.main()
        return capsys.readouterr().out

    return run


def test_a_folder_is_planned_trained_and_judged_and_goes_on_where_it_stopped(command, folder, tmp_path, monkeypatch):
    planned = command(folder, "--minutes", "5", "--plan")  # enough for 12 steps on a busy machine, too
    assert "60 labelled images to fit on" in planned
    assert not (tmp_path / "out/run").exists()
    with pytest.raises(UsageError, match="go on with --resume"):
        command(folder, "--minutes", "0.05")
    with pytest.raises(UsageError, match="holds a plan for other images"):
        command(folder / "train", "--minutes", "0.05", "--resume")
    judged = command(folder, "--minutes", "0.05", "--resume")
    assert re.search(r"With all labels: .* than the untrained encoder", judged)
    assert "With 40 labels:" in judged
    assert "maetool quick_eval" in judged
    page = (tmp_path / "out/report.html").read_text()
    assert "With 40 labels:" in page
    assert page.count("60 labelled images to fit on") == page.count("Candidates were not compared: a plan alone") == 1
    assert "<title>data, by maetool auto</title>" in page
    assert re.search(r"<p>With 40 labels: [^\n]*</p>", page)  # which the edge of the page does not cut
    assert f"maetool train {tmp_path}/out/plan.py --work-dir {tmp_path}/out/run" in page
    assert (tmp_path / "out/run/epoch_12.pth").is_file()
    monkeypatch.setattr(short, "build_runner", None)  # nothing is tried or timed again
    monkeypatch.setattr(running, "worth_of", lambda checkpoint, data, task: f"judged {checkpoint.name}")
    assert "judged epoch_12.pth" in command(folder, "--resume")


def test_candidates_are_judged_without_images_held_back(command, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running, "rounds_of", lambda candidates, steps: [(2, 8)])
    monkeypatch.setattr("maetool.auto.halving._LEAST", 1)
    monkeypatch.setattr(running.Auto, "_time", lambda self, plan, facts: 0.5)
    seen = []
    build = running.Judge._by_labels
    monkeypatch.setattr(
        running.Judge, "_by_labels", lambda self, model: seen.append(self.labelled) or build(self, model)
    )
    monkeypatch.setattr(running.Auto, "_train", lambda self: pytest.skip("the rest is tested above"))
    with pytest.raises(pytest.skip.Exception):
        command(folder, "--minutes", "2")
    told = capsys.readouterr().out
    assert re.search(
        r"labelled training images; [\d.]+ with the untrained encoder:\n  plain +\d+ steps: +[\d.]+, loss", told
    )
    assert {place["root"] for place in seen} == {str(folder / "train")}
    trials = (tmp_path / "out/candidates/trials.jsonl").read_text().splitlines()
    assert len(trials) == len(seen) - 1 > 2  # and the untrained encoder


def test_trials_of_an_interrupted_call_count_though_steps_take_another_time_now(folder, tmp_path):
    request = running.Request(str(folder), None, "classify", 2, tmp_path)
    first = running.Auto(request)._steps_to_try(0.1)
    assert first == 300
    assert running.Auto(request)._steps_to_try(0.2) == first
    longer = running.Request(str(folder), None, "classify", 8, tmp_path)
    assert running.Auto(longer)._steps_to_try(0.2) == 600


@pytest.mark.parametrize("labels", [None, "table.csv"])
def test_that_images_held_back_are_trained_on_without_labels_is_said(tmp_path, labels):
    facts = Facts(80, 8, 1.0, 1, True, [0.0], [1.0], 0.1, 1.0, 0.1, 0.1, 0.1, 0.0, labelled=60, classes=2)
    told = []
    auto = running.Auto(running.Request("images", labels, "classify", 2, tmp_path / "out"), told.append)
    auto._say_facts(Data({}, facts, {"root": "a"}, {"root": "b"}, [None], [], []))
    assert "60 labelled images to fit on. Images held back for the end decide nothing." in told[-1]
    assert ("are seen there without their labels" in told[-1]) == bool(labels)


def test_what_the_plan_already_sets_of_what_the_data_asks_for_is_said(command, tmp_path):
    """A warning that asks for an option is followed by the line that says that it is set."""
    image, exif = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 24, 3), np.uint8)), Image.Exif()
    exif[274] = 6  # turned by a quarter
    rows = []
    for i in range(20):
        image.rotate(7 * i).save(tmp_path / f"{i}.jpg", exif=exif)
        rows.append(f"{i}.jpg,{'xy'[i % 2]},p{i // 2}\n")
    (tmp_path / "t.csv").write_text("path,label,patient\n" + "".join(rows))
    told = command(tmp_path / "t.csv", "--plan")
    assert "set dataset.exif=True" in told and "dataset.group_column=patient keeps each in one part" in told
    line = "The plan itself sets mean and std of these images, dataset.exif=True, dataset.group_column='patient'."
    assert line in told.splitlines()
    plan = (tmp_path / "out" / "plan.py").read_text()
    assert 'group_column="patient"' in plan and "exif=True" in plan


def test_a_short_training_that_is_asked_to_stop_keeps_nothing(command, folder, monkeypatch):
    class Stopped:
        stopped = "asked to by SIGTERM; iteration 3 is not saved, because no hook of the config writes checkpoints"
        train = staticmethod(lambda: None)

    monkeypatch.setattr(short, "build_runner", lambda cfg: Stopped())
    with pytest.raises(StoppedError, match=r"^asked to while a short training ran, of which nothing is kept$"):
        command(folder, "--minutes", "5")


def test_ctrl_c_asks_a_training_to_stop_and_a_second_one_ends_the_command():
    stopped = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    try:
        with running.stops_on_ctrl_c() as pressed:
            signal.raise_signal(signal.SIGINT)
            assert (stopped, pressed) == ([signal.SIGTERM], [True])
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_minutes_and_labels_that_make_no_sense_are_refused_and_leave_no_folder(command, folder, tmp_path):
    for minutes in ("0", "inf", "nan"):
        with pytest.raises(UsageError, match=f"--minutes is {minutes}"):
            command(folder, "--minutes", minutes)
    with pytest.raises(UsageError, match=r"--labels is nothing\.csv, which does not exist"):
        command(folder, "--labels", "nothing.csv")
    with pytest.raises(UsageError, match=r"There is no data at .*: pass the path of your images, in a training by "):
        command(folder / "nothing")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("different", "sentence"), [(0, "20 images of one value"), (1, "are copies of one")])
def test_images_without_anything_to_learn_are_refused(command, tmp_path, different, sentence):
    for index in range(20):
        image = np.zeros((8, 8), np.uint8)
        image[0, 0] = different
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    with pytest.raises(UsageError, match=sentence):
        command(tmp_path)
