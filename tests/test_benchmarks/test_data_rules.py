"""The measurements behind the rules of `maetool auto`: every run is measured, and the tables say what came out."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import data_rules
from benchmarks.data_rules import RUNS, crops, measure, pretrain
from benchmarks.data_table import _apart, from_scratch, gains, read, summary, to_markdown


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for part, number in (("train", 40), ("val", 12)):
        for index in range(number):
            path = tmp_path / "digits" / part / "ab"[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = rng.integers(0, 100, (8, 8), dtype=np.uint8)
            image[:, : 8 if index % 2 else 2] += 120
            Image.fromarray(image).save(path)
    return tmp_path / "digits"


@pytest.mark.parametrize("run", [*RUNS, "baselines", "scratch"])
def test_every_run_is_measured(folder, monkeypatch, run):
    monkeypatch.setattr(data_rules, "_STEPS", 2)
    monkeypatch.setattr(data_rules, "_DRAWS", 2)
    monkeypatch.setitem(RUNS, run, {**RUNS.get(run, {}), "steps": 2 if run != "untrained" else 0})
    monkeypatch.setattr(data_rules.scratch, "__defaults__", (2,))
    line = measure("digits", folder, run, 0)
    for of_labels in line["scores"].values():
        assert set(of_labels) == {"10", "40", "all"}
        assert all(0 <= value <= 100 for values in of_labels.values() for value in values)


def test_crops_are_parts_of_the_image():
    images = torch.arange(32.0).expand(4, 1, 32, 32)
    found = crops(images, 16, (0.2, 0.5), np.random.default_rng(0))
    assert found.shape == (4, 1, 16, 16)
    width = (found[:, 0, 0, -1] - found[:, 0, 0, 0]) / 15 * 16
    assert (width < 32 * 0.85).all()
    assert (width > 32 * 0.3).all()
    assert found.min() >= 0
    assert found.max() <= 31


def test_a_table_shows_means_deviations_and_the_best(tmp_path):
    lines = [
        {"set": "a", "run": "base", "seed": seed, "scores": {"pretrained": {"40": [50.0 + seed, 52.0 + seed]}}}
        for seed in (0, 2)
    ]
    lines.append({"set": "a", "run": "baselines", "seed": 0, "scores": {"pixels": {"40": [40.0, 42.0]}}})
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = to_markdown(tmp_path / "results.jsonl")
    assert "| a | 41.0 (1.4) |  |  |  | **52.0 (1.6)** |" in table


def test_a_gain_is_of_the_same_draws_and_seed(tmp_path):
    def line(run, seed, **scores):
        return {"set": "a", "run": run, "seed": seed, "scores": scores}

    lines = [line("base", seed, pretrained={"40": [50.0 + seed, 61.0], "all": [70.0]}) for seed in (1, 0)]
    lines += [line("untrained", seed, pretrained={"40": [40.0 + seed, 50.0], "all": [71.0]}) for seed in (0, 1, 2)]
    lines.append(line("baselines", 0, hog={"40": [30.0, 50.0]}))
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    rows = gains(tmp_path / "results.jsonl").splitlines()[2:]
    assert rows == ["| a, 40 | **+10.5 (0.6)** | -5.5 (6.1) |", "| a, all | -1.0 |  |"]
    rows = summary(tmp_path / "results.jsonl").splitlines()
    assert rows[3] == "| 40 | +10.5; 1 better, 0 worse of 1 |" and rows[5:] == [
        "| 200 |  |",
        "| all | -1.0; 0 better, 0 worse of 1 |",
    ]
    lines += [line("plain", seed, pretrained={"40": [53.0 + seed, 66.0]}) for seed in (0, 1)]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert "| a, 40 | **+4.0 (1.2)** |" in gains(tmp_path / "results.jsonl", "base")
    assert "| 40 | +4.0; 1 better, 0 worse of 1 |" in summary(tmp_path / "results.jsonl", "base")


def test_training_from_scratch_is_compared_as_an_independent_draw(tmp_path):
    """Ten probes of one seed are ten draws, of two seeds still ten; one training from scratch tells nothing."""
    rng = np.random.default_rng(0)
    lines = [
        {"set": "a", "run": "base", "seed": seed, "scores": {"pretrained": {"10": rng.normal(50, 4, 10).tolist()}}}
        for seed in (0, 1)
    ]
    lines += [
        {"set": name, "run": "scratch", "seed": seed, "scores": {"scratch": {"10": [value]}}}
        for name, seed, value in [("a", 0, 59.0), ("a", 1, 63.0), ("b", 0, 99.0)]
    ]
    lines.append({"set": "b", "run": "base", "seed": 0, "scores": {"pretrained": {"10": [40.0, 42.0]}}})
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    probes = [value for line in lines[:2] for value in line["scores"]["pretrained"]["10"]]
    gain = _apart(read(path)["a"], "base", "10")
    assert gain.mean == pytest.approx(61 - np.mean(probes))
    assert gain.error == pytest.approx((8 / 2 + np.var(probes, ddof=1) / 10) ** 0.5)
    row = next(line for line in from_scratch(path).splitlines() if line.startswith("| 10 |"))
    assert row.endswith(f"| {gain.mean:+.1f}; 1 better, 0 worse of 1 |")


def test_the_untrained_encoder_is_what_training_begins_with(folder, monkeypatch):
    monkeypatch.setitem(RUNS, "base", {"steps": 1})
    monkeypatch.setattr(data_rules, "_RATE", 0.0)
    trained, _ = pretrain("digits", folder, "base", 5)
    untrained, losses = pretrain("digits", folder, "untrained", 5)
    assert losses == {}
    assert torch.equal(trained.encoder.patch_embed.proj.weight, untrained.encoder.patch_embed.proj.weight)
