"""The script for a GPU runs on a CPU too, with a small model; its checks can fail, and none takes the others along."""

import os
import time
from types import SimpleNamespace

import pytest
import torch

from benchmarks import command, gpu, gpu_checks, peers
from benchmarks.apart import Apart, ApartError
from benchmarks.gpu_speed import Case
from maetool.errors import UsageError
from maetool.ops.peaks import peak_of


class Here:
    """In place of `Apart`: functions run in this process, which has imported everything."""

    def call(self, function, *arguments, seconds):
        assert 0 < seconds <= 540
        return function(*arguments)

    def close(self):
        pass


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H100 80GB HBM3", 989.5e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA L40S", 362e12)]
)
def test_peaks_are_those_of_data_sheets(name, peak):
    assert peak_of(name) == peak and peak_of("GeForce 256") is None


def test_the_report_has_checks_and_speed(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "Apart", Here)
    monkeypatch.setattr(gpu, "_tables", lambda small: {"Loading": lambda: "a table", "Photographs": lambda: 1 / 0})
    monkeypatch.setattr(Here, "call", _failing_as_apart(Here.call))
    monkeypatch.setattr(peers, "absent", lambda: ["lightly"])
    report, figures = gpu.run(small=True, out=tmp_path / "gpu.md")
    assert [result.split(":")[0] for result in figures["checks"].values()] == ["skipped"] * 2 + ["passed"] * 6
    assert all(row["rate"] > 0 for row in figures["rows"])
    assert [row["method"] for row in figures["rows"]][-1] == "timm, encoder alone"
    assert "| vit-t | maetool | eager | 4 | " in report and "```\na table\n```" in report
    assert "FAILED: ZeroDivisionError" in report and "Not installed, and so not measured: lightly (" in report
    assert (tmp_path / "gpu.md").read_text() == report and "Not finished" not in report


def _failing_as_apart(call):
    def called(self, *arguments, **options):
        try:
            return call(self, *arguments, **options)
        except Exception as error:
            raise ApartError(type(error).__name__) from error

    return called


def test_what_was_measured_is_in_the_file_when_the_program_ends(monkeypatch, tmp_path):
    """Also the rows after one that failed."""
    answers = iter([{"rate": 8.0, "share": 0.5, "memory": 1.0}, ApartError("its process ended with code -9"), None])

    def call(self, function, *arguments, seconds):
        answer = next(answers) if function is gpu.measured else "passed"
        if isinstance(answer, ApartError):
            raise answer
        if answer is None:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(gpu, "Apart", Here)
    monkeypatch.setattr(Here, "call", call)
    with pytest.raises(KeyboardInterrupt):
        gpu.run(small=True, out=tmp_path / "gpu.md")
    text = (tmp_path / "gpu.md").read_text()
    assert "**Not finished: the program still runs, or was ended here.**" in text
    assert "| vit-t | maetool | eager | 4 | 8 | 50.0% | 1.0 |" in text
    assert "| vit-t | maetool, encoder alone | eager | 4 | its process ended with code -9 | | |" in text


def test_rows_that_would_not_fit_are_left_out(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: clock.now)
    tried, report = [], gpu.Report(None, end=100.0)

    def call(self, function, case, timed, seconds):
        tried.append((case.batch, seconds))
        clock.now += 40
        return {"note": "out of memory"} if case.method == "other" else {"rate": 1.0, "share": None, "memory": None}

    monkeypatch.setattr(Here, "call", call)
    for batch in (512, 1024, 128):  # 40 s, then about 80 of 60 that are left, then about 40
        report.measure(Here(), Case("vit-b", "maetool", "compiled", batch), small=False)
    assert tried == [(512, 100.0), (128, 60.0)]
    assert report.rows[1]["note"] == "left out: about 80 s of 60 s that are left"
    clock.now = 0.0
    for batch in (512, 1024, 256):
        report.measure(Here(), Case("vit-b", "other", "eager", batch), small=False)
    assert [batch for batch, _ in tried[2:]] == [512, 256]
    assert report.rows[-2]["note"] == "left out: out of memory at 512 already"
    clock.now = 99.5
    report.measure(Here(), Case("vit-l", "maetool", "eager", 512), small=False)
    assert "of 0 s that are left" in report.rows[-1]["note"] and "no time was left" in report.answer(Here(), print)


def test_functions_in_a_process_of_their_own():
    apart = Apart()
    assert apart.call(int, "7", seconds=60) == 7
    first = apart.call(os.getpid, seconds=60)
    assert first == apart.call(os.getpid, seconds=60) != os.getpid()
    for function, argument, seconds, said in (
        (int, "seven", 60, "ValueError: invalid literal for int"),
        (os._exit, 3, 60, "its process ended with code 3"),
        (time.sleep, 60, 0.1, "took longer than 0 s"),
    ):
        with pytest.raises(ApartError, match=said):
            apart.call(function, argument, seconds=seconds)
    assert apart.call(os.getpid, seconds=60) != first
    apart.close()


def test_a_machine_without_a_gpu_is_told(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="needs a GPU that PyTorch can use: `--small` tries it on a CPU"):
        gpu.run()


def test_checks_can_fail(monkeypatch):
    monkeypatch.setattr(
        gpu_checks, "_train", lambda model, *_: [p.data.normal_() for p in model.parameters()] and [1.0]
    )
    assert gpu_checks.a_broken_step_changes_nothing() == "FAILED"
    ends = [{"state_dict": {"weight": torch.full((2,), value)}, "optimizer": [torch.ones(1)]} for value in (0.0, 1.0)]
    monkeypatch.setattr(gpu_checks, "_unbroken_and_resumed", lambda folder: ends)
    assert gpu_checks.a_resume_is_exact() == "FAILED: 1 of 2 tensors differ"
    monkeypatch.setitem(gpu_checks._GOLDEN_MODEL, "target", {"type": "PixelTarget", "norm_pix_loss": False})
    assert gpu_checks.losses_are_the_published_ones().startswith("FAILED: relative difference")
    monkeypatch.setattr(gpu_checks, "RandomMasker", lambda: lambda images, *_, **__: next(plans))
    plans = iter([SimpleNamespace(mask=torch.zeros(1)), SimpleNamespace(mask=torch.ones(1))])
    assert gpu_checks.masks_are_those_of_a_CPU().startswith("FAILED: those of function")
    monkeypatch.setattr(gpu_checks, "finish_on_device", lambda inputs: next(images))
    images = iter([torch.zeros(1), torch.full((1,), 2.0)])
    assert "FAILED: they differ by at most 2" in gpu_checks.resized_images_are_those_of_a_CPU()


def test_an_order_that_measures_what_matters_first():
    small, cases = gpu.cases_of(small=True), gpu.cases_of(small=False)
    assert small[0] == Case("vit-t", "maetool", "eager", 4) and cases[0] == Case("vit-b", "maetool", "compiled", 512)
    assert len(set(cases)) == len(cases) > 50
    assert {case.batch for case in cases} == {128, 256, 512, 1024, 2048}
    assert {case.how for case in cases} == {"eager", "compiled", "compiled whole", "graphs", "whole graphs"}
    methods = [case.method for case in cases]
    assert "timm, encoder alone" in methods[:8] and "maetool, decoder of 8 heads" in methods[:12]


def test_the_device_can_be_chosen(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    command._choose(None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    command._choose("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cuda needs a GPU that PyTorch can use"):
        command._choose("cuda")
