"""The script for a GPU runs on a CPU too, with a small model; its checks can fail."""

import pytest

from benchmarks import gpu
from maetool.ops.peaks import peak_of


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H100 80GB HBM3", 989.5e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA L40S", 362e12)]
)
def test_peaks_are_those_of_data_sheets(name, peak):
    assert peak_of(name) == peak and peak_of("GeForce 256") is None


def test_the_report_has_checks_and_speed(monkeypatch):
    report, figures = gpu.run(small=True)
    assert [result.split(":")[0] for result in figures["checks"].values()] == ["skipped", *["passed"] * 3]
    assert figures["rows"][0]["rate"] > 0 and "| vit-t | maetool | eager | 4 | " in report
    monkeypatch.setattr(gpu, "CHECKS", ())
    assert "not measured: out of time" in gpu.run(small=True, minutes=0)[0]


def test_checks_can_fail(monkeypatch):
    monkeypatch.setattr(gpu, "_train", lambda model, *_: [p.data.normal_() for p in model.parameters()] and [1.0])
    assert gpu._result(gpu.a_broken_step_changes_nothing) == "FAILED"
    assert gpu._result(gpu.a_resume_is_exact) == "FAILED: weights differ"


@pytest.mark.parametrize("size", [False, True])
def test_an_order_that_measures_what_matters_first(size):
    cases = gpu._cases(small=size)
    assert cases[0]["batch"] == (4 if size else 512) and len({str(case) for case in cases}) == len(cases)
