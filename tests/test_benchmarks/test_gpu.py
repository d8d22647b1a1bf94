"""The script for a GPU runs on a CPU too, with a small model; its checks can fail."""

import os
from types import SimpleNamespace

import pytest
import torch

from benchmarks import command, gpu, gpu_checks
from maetool.errors import UsageError
from maetool.ops.peaks import peak_of


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H100 80GB HBM3", 989.5e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA L40S", 362e12)]
)
def test_peaks_are_those_of_data_sheets(name, peak):
    assert peak_of(name) == peak and peak_of("GeForce 256") is None


def test_the_report_has_checks_and_speed(monkeypatch):
    report, figures = gpu.run(small=True)
    assert [result.split(":")[0] for result in figures["checks"].values()] == ["skipped"] * 2 + ["passed"] * 5
    assert figures["rows"][0]["rate"] > 0 and "| vit-t | maetool | eager | 4 | " in report
    monkeypatch.setattr(gpu, "CHECKS", ())
    assert "not measured: out of time" in gpu.run(small=True, minutes=0)[0]


def test_checks_can_fail(monkeypatch):
    monkeypatch.setattr(
        gpu_checks, "_train", lambda model, *_: [p.data.normal_() for p in model.parameters()] and [1.0]
    )
    assert gpu_checks.result_of(gpu_checks.a_broken_step_changes_nothing) == "FAILED"
    assert gpu_checks.result_of(gpu_checks.a_resume_is_exact) == "FAILED: weights differ"
    monkeypatch.setattr(gpu_checks, "RandomMasker", lambda: lambda images, *_, **__: next(plans))
    plans = iter([SimpleNamespace(mask=torch.zeros(1)), SimpleNamespace(mask=torch.ones(1))])
    assert gpu_checks.result_of(gpu_checks.masks_are_those_of_a_CPU).startswith("FAILED: those of function")
    monkeypatch.setattr(gpu_checks, "finish_on_device", lambda inputs: next(images))
    images = iter([torch.zeros(1), torch.full((1,), 2.0)])
    assert "FAILED: they differ by at most 2" in gpu_checks.result_of(gpu_checks.resized_images_are_those_of_a_CPU)


@pytest.mark.parametrize("size", [False, True])
def test_an_order_that_measures_what_matters_first(size):
    cases = gpu._cases(small=size)
    assert cases[0]["batch"] == (4 if size else 512) and len({str(case) for case in cases}) == len(cases)


def test_the_device_can_be_chosen(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    command._choose(None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    command._choose("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cuda needs a GPU that PyTorch can use"):
        command._choose("cuda")
