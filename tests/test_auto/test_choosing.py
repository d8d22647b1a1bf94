"""Facts of images, and the choice between candidates."""

import pytest
import torch

from maetool.auto.facts import _of_pixels
from maetool.auto.halving import halve, rounds_of
from maetool.auto.judge import Verdict
from maetool.auto.plan import Plan


def verdict(score, loss=0.5, rank=9.0):
    return Verdict(score, "a test", loss, rank, 0.1, 50.0)


def of_pixels(images):
    return _of_pixels(images, [0.0], [1.0])


def test_noise_and_a_slope_differ_in_what_neighbours_and_wavelengths_tell():
    noise = of_pixels([torch.randn(1, 32, 48, generator=torch.Generator().manual_seed(n)) for n in range(4)])
    slope = of_pixels([torch.linspace(0, n + 1, 48).expand(1, 32, 48) for n in range(4)])
    assert noise["redundancy"] < 0.1
    assert slope["redundancy"] > 0.9
    assert noise["fine"] > 0.6
    assert slope["fine"] < 0.2
    assert noise["contrast"] < 1.2
    assert slope["contrast"] > 1.5


def test_blank_patches_and_brightness_are_counted():
    images = [torch.zeros(1, 32, 32) for _ in range(4)]
    for number, image in enumerate(images):
        image[:, :8] = torch.randn(8, 32, generator=torch.Generator().manual_seed(number))
    assert of_pixels(images)["flat"] == pytest.approx(0.75)
    bright = of_pixels([image + 10 * number for number, image in enumerate(images)])
    assert bright["between"] > 0.9
    assert of_pixels(images)["between"] < 0.1


@pytest.mark.parametrize("side", [1, 2, 3])
def test_images_of_a_few_pixels_have_facts_too(side):
    found = of_pixels([torch.rand(1, side, side) for _ in range(3)])
    assert all(value == value for value in found.values())


@pytest.mark.parametrize(
    ("candidates", "steps", "rounds"),
    [(4, 800, [(4, 100), (2, 200)]), (3, 480, [(3, 80), (2, 120)]), (4, 300, []), (1, 900, [])],
)
def test_every_round_takes_the_same_time(candidates, steps, rounds):
    assert rounds_of(candidates, steps) == rounds


def tried(tmp_path, verdicts, steps=480):
    """Halve three candidates, and return the best and those that were trained."""
    trained = []

    def train(plan, steps, folder):
        trained.append((plan.title, steps))
        return verdicts[plan.title]

    plans = {name: Plan("base", name) for name in verdicts}
    best, _ = halve(plans, steps, train, tmp_path, lambda line: None)
    return best, trained


def test_the_better_half_goes_on_and_the_best_wins(tmp_path):
    best, trained = tried(tmp_path, {"a": verdict(1), "b": verdict(3), "c": verdict(2)})
    assert best == "b"
    assert trained == [("a", 80), ("b", 80), ("c", 80), ("b", 120), ("c", 120)]


@pytest.mark.parametrize(("steps", "expected"), [(1600, "b"), (480, "a")])
def test_what_learned_nothing_in_enough_steps_or_collapsed_loses_whatever_its_score(tmp_path, steps, expected):
    verdicts = {"a": verdict(9, loss=1.0), "b": verdict(1), "c": verdict(10, rank=1.2)}
    assert tried(tmp_path, verdicts, steps)[0] == expected


def test_equal_candidates_keep_the_order_of_the_rules(tmp_path):
    assert tried(tmp_path, {"a": verdict(2), "b": verdict(2), "c": verdict(2)})[0] == "a"


def test_trials_that_were_finished_before_a_kill_are_not_repeated(tmp_path):
    verdicts = {"a": verdict(1), "b": verdict(3), "c": verdict(2)}
    first = tried(tmp_path, verdicts)
    lines = (tmp_path / "trials.jsonl").read_text().splitlines()
    (tmp_path / "trials.jsonl").write_text("\n".join([*lines[:3], lines[3][:20]]))
    best, trained = tried(tmp_path, verdicts)
    assert (best, trained) == (first[0], [("b", 120), ("c", 120)])
    assert tried(tmp_path, verdicts) == (best, [])
