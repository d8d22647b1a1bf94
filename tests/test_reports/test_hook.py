"""The page at the end of a run, when a config asks for it."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest
from warm import warm_python

from maetool.engine.hooks import ReportHook


@pytest.fixture
def runner(tmp_path):
    return SimpleNamespace(work_dir=str(tmp_path), logger=logging.getLogger("test of the report"))


def test_the_page_is_written_by_a_process_outside_of_the_job(runner, monkeypatch, caplog):
    calls = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("KEPT", "1")
    done = SimpleNamespace(returncode=0, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda command, **more: calls.append((command, more["env"])) or done)
    with caplog.at_level(logging.INFO):
        ReportHook(images=7).after_train(runner)
    (command, environment), *_ = calls
    page = f"{runner.work_dir}/report.html"
    assert command[2:] == ["maetool", "report", runner.work_dir, "--out", page, "--images", "7"]
    assert "WORLD_SIZE" not in environment and environment["KEPT"] == "1"
    assert f"Report: {page}" in caplog.text


def test_a_page_that_cannot_be_written_does_not_fail_the_run(runner, caplog, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(sys, "executable", warm_python(tmp_path_factory.mktemp("bin")))
    ReportHook().after_train(runner)  # the folder has no logs
    assert "The report was not written (" in caplog.text and "holds no logs of a run" in caplog.text


@pytest.mark.parametrize(("seconds", "stopped"), [(60, ""), (0, "SIGTERM")])
def test_short_and_stopped_trainings_get_no_page(runner, monkeypatch, seconds, stopped):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("the page is written"))
    hook = ReportHook(least_seconds=seconds)
    runner.stopped = stopped
    hook.before_train(runner)
    hook.after_train(runner)
