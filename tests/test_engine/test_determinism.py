"""What `randomness.deterministic=True` asks for, and what is said where PyTorch has no such kernel."""

import os

import pytest
import torch
from mmengine.hooks import Hook
from runs import make_runner

from maetool.errors import UsageError

OPTIONS = ["randomness.deterministic=True"]


class Scatter(Hook):
    """Does what PyTorch can do on no device so that it repeats."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        torch.zeros(2).put_(torch.tensor([0, 0]), torch.ones(2))


class Broken(Hook):
    """Fails for another reason."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        raise RuntimeError("something else")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is restored
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, benchmark


def test_a_missing_kernel_is_told_in_a_sentence(repository, tmp_path):
    runner = make_runner(repository, tmp_path, options=OPTIONS)
    runner.register_hook(Scatter())
    with pytest.raises(UsageError, match=r"PyTorch has no deterministic kernel for put_ .*: set randomness\.determ"):
        runner.train()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"  # which CUDA's products need


def test_other_errors_stay_and_a_workspace_that_is_set_stays(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    runner = make_runner(repository, tmp_path, options=OPTIONS)
    runner.register_hook(Broken())
    with pytest.raises(RuntimeError, match="something else"):
        runner.train()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
