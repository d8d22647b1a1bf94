"""The form of the lines on a terminal, and of those in a file."""

import logging
import os

import pytest
from mmengine.logging import MMLogger

from maetool.cli import run
from maetool.engine.building import BuildingRunner
from maetool.messages import print_log


@pytest.fixture
def no_loggers():
    """Without the loggers of other tests, which are brought back."""
    kept = dict(MMLogger._instance_dict)
    MMLogger._instance_dict.clear()
    yield
    MMLogger._instance_dict.clear()
    MMLogger._instance_dict.update(kept)


def test_lines_without_a_run_have_the_plain_form(no_loggers, capsys):
    print_log("A line.")
    print_log("A doubt.", logging.WARNING)
    print_log("Two lines\nof one message.")
    assert capsys.readouterr().out == "A line.\nwarning: A doubt.\nTwo lines\nof one message.\n"


def test_a_run_writes_plain_lines_to_the_terminal_and_times_to_its_file(no_loggers, capsys, tmp_path):
    path = tmp_path / "run.log"
    runner = type("Runner", (BuildingRunner,), {"__init__": lambda self: None})()
    runner._experiment_name = "run"
    logger = runner.build_logger(log_file=str(path))
    logger.info("step %d", 1)
    print_log("A doubt.", logging.WARNING)
    assert capsys.readouterr().out == "step 1\nwarning: A doubt.\n"
    first, second = path.read_text().splitlines()
    assert first.endswith(" - maetool - INFO - step 1") and first[:2] == "20"
    assert second.endswith(" - maetool - WARNING - A doubt.")


def test_warnings_of_parts_have_the_same_form_in_a_command(monkeypatch, capsys):
    monkeypatch.setattr(logging, "lastResort", logging._StderrHandler(logging.WARNING))
    monkeypatch.setattr("maetool.cli.secure_streams", lambda: None)
    monkeypatch.setattr(logging.getLogger("maetool"), "propagate", False)  # pytest's own handlers

    with pytest.raises(SystemExit):
        run(lambda: logging.getLogger("maetool").warning("%d files are broken.", 2))
    assert capsys.readouterr().err == "warning: 2 files are broken.\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_a_log_file_on_a_full_disk_is_one_line_and_no_traceback_for_each(no_loggers, capsys):
    runner = type("Runner", (BuildingRunner,), {"__init__": lambda self: None})()
    runner._experiment_name = "run"
    logger = runner.build_logger(log_file="/dev/full")
    for number in range(3):
        logger.info(f"line {number}")
    told = "".join(capsys.readouterr())
    assert told.count("warning: /dev/full takes no more lines (No space left on device); the run goes on.") == 1
    assert "Traceback" not in told and "line 2" in told
