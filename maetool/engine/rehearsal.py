"""Checks that configs can be trained, by building everything without making a step."""

import gc
import io
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from tempfile import TemporaryDirectory

import torch

from maetool.compat import start_of_helpers
from maetool.config.load import load_for
from maetool.errors import UsageError

from .launch import build_runner, drop_missing_validation, need_training


def what_hinders(runs: Mapping[str, tuple[str, Sequence[str], str | None]]) -> dict[str, str]:
    """Build everything that each training needs, and return the names of those that fail, with the reason.

    A separate process builds them, so that all memory, also on a GPU, is freed afterwards.

    Args:
        runs: name to config, options and data, the value of `--data` or None.
    """
    reasons: dict[str, str] = {}
    with ProcessPoolExecutor(1, start_of_helpers()) as pool:
        waiting = {
            name: pool.submit(_hindrance, config, list(options), data) for name, (config, options, data) in runs.items()
        }
        for name, answer in waiting.items():
            try:
                reasons[name] = answer.result()
            except BrokenProcessPool:  # perhaps out of memory; the training itself will report it
                break
    return {name: reason for name, reason in reasons.items() if reason}


def _hindrance(config: str, options: Sequence[str], data: str | None) -> str:
    """Return why a training cannot begin, empty if it can."""
    torch.set_num_threads(1)  # a forked process must not start OpenMP threads
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            cfg, _ = load_for(config, options, data, {"work_dir": folder})
            cfg.work_dir = folder
            drop_missing_validation(cfg)
            runner = build_runner(need_training(cfg))
            loop = runner.train_loop
            loop.run = lambda: runner.model  # by then everything is built
            runner.train()
        except UsageError as error:
            return str(error)
        finally:
            sys.stdout.flush()
            gc.collect()
    return ""
