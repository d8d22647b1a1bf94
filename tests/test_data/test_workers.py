"""The processes that load data end with the program, and without noise."""

import sys
import threading

import pytest

from maetool.data import workers


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(), BrokenPipeError(), ValueError("a defect")])
@pytest.mark.parametrize("in_thread", [True, False])
def test_a_main_process_that_ends_leaves_no_traceback_of_its_workers(monkeypatch, capsys, error, in_thread):
    """Python's thread that hands over file descriptors calls `sys.excepthook` for every error."""
    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    workers.ignore_signals_in_workers()(0)

    def fail():
        try:
            raise error
        except Exception:
            sys.excepthook(*sys.exc_info())

    thread = threading.Thread(target=fail)
    thread.start() if in_thread else fail()
    thread.join() if in_thread else None
    quiet = in_thread and not isinstance(error, ValueError)
    assert ("Traceback" in capsys.readouterr().err) != quiet
