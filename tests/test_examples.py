"""The scripts in examples/ show what the pages say that they show."""

import runpy

import pytest


@pytest.fixture(scope="module")
def half_times(repository):
    return runpy.run_path(str(repository / "examples/jepa_theory.py"))["half_times"]


def test_latents_of_two_layers_prefer_what_is_certain_and_pixels_what_is_strong(half_times):
    strong, noisy, weak, both = half_times(True, 2, 0.2, 0.08).tolist()  # certain and strong, only strong, only certain
    assert strong < weak < noisy < both
    strong, noisy, weak, both = half_times(False, 2, 0.2, 0.08).tolist()
    assert noisy < strong < both < weak


def test_latents_of_one_layer_have_no_such_preference(half_times):
    strong, noisy, weak, both = half_times(True, 1, 0.2, 0.08).tolist()
    assert noisy < strong and both < weak
