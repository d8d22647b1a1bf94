"""Runs that go wrong say so once, in plain words; a run that goes well says nothing."""

import logging
from types import SimpleNamespace

import pytest
import torch
from runs import make_runner
from torch import nn

from maetool.engine.hooks import HealthHook, health
from maetool.evaluation.base import Shared

SMALL = ["val_dataloader.dataset.num_samples=20", "val_cfg.bank_dataloader.dataset.num_samples=20"]
STILL = {"type": "ConstantLR", "factor": 1e-9, "by_epoch": False, "begin": 0, "end": 10**6}  # weights stay as they are


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(health, "_PATIENCE", 3)


def warnings_of(repository, work_dir, change=lambda runner: None, options=(), val=False, **settings):
    """Return what the hook says of a run of 12 steps, as one text; `change` makes it go wrong."""
    options = [*SMALL, *([] if val else ["val_dataloader=None"]), "custom_hooks.7.interval=1", *options]
    runner = make_runner(repository, work_dir, options=options, **settings)
    change(runner)
    said = []
    log = runner.logger.warning
    runner.logger.warning = lambda sentence, *more: said.append(sentence) or log(sentence, *more)
    try:
        runner.train()
    finally:
        del runner.logger.warning
    assert any(isinstance(hook, HealthHook) for hook in runner.hooks)
    return "\n".join(said)


def test_a_healthy_run_says_nothing(repository, tmp_path):
    assert (
        warnings_of(repository, tmp_path, val=True, options=["val_cfg.evaluators.s.type=FeatureSpreadEvaluator"]) == ""
    )


def test_a_learning_rate_of_zero(repository, tmp_path):
    ends = [{"type": "MultiStepLR", "milestones": [1], "gamma": 0.0, "by_epoch": True}]
    said = warnings_of(repository, tmp_path, sections={"param_scheduler": ends})
    assert said.count("The learning rate (lr) is 0 since step 5 of 12, so nothing is learned") == 1
    assert "base_lr" in said and "param_scheduler" in said


def test_a_loss_that_stays_at_the_constant_predictor(repository, tmp_path):
    def predict_the_mean(runner):
        nn.init.zeros_(runner.bare_model.decoder.pred.weight)
        nn.init.zeros_(runner.bare_model.decoder.pred.bias)

    said = warnings_of(repository, tmp_path, predict_the_mean, sections={"param_scheduler": [STILL]})
    assert said.count("stays at that of a constant predictor") == 1 and "base_lr" in said


def loaded_as(change):
    """Return a function that lets the training data of a runner be changed as it is loaded."""

    def to(runner):
        dataset = runner.train_dataloader.dataset
        load = dataset.load
        dataset.load = lambda index: change(load, index)

    return to


def test_images_without_content(repository, tmp_path):
    blank = loaded_as(lambda load, index: {**load(index), "inputs": torch.full_like(load(index)["inputs"], index)})
    said = warnings_of(repository, tmp_path, blank)
    assert said.count("What is to be predicted is the same everywhere") == 1 and "dataset_stats" in said


def test_a_loss_lower_than_images_allow(repository, tmp_path):
    """The head is given what the decoder should have predicted; and all images are the same."""

    def leak(runner):
        head = runner.bare_model.head
        judge = head.forward
        head.forward = lambda pred, target, plan: judge(target + 0 * pred, target, plan)
        loaded_as(lambda load, index: load(0))(runner)

    said = warnings_of(repository, tmp_path, leak)
    assert said.count("is lower than images allow") == 1
    assert said.count("are exact copies of others") == 1 and "maetool check FOLDER" in said


def test_the_same_batch_again(repository, tmp_path):
    again = loaded_as(lambda load, index: load(index % 4))
    options = ["train_dataloader.sampler.shuffle=False"]
    said = warnings_of(repository, tmp_path, again, options)
    assert said.count("of the same epoch had exactly the same batch") == 1
    assert said.count("Epoch 2 begins with the same samples") == 1 and "copies" not in said


def collapse(runner):
    for parameter in runner.bare_model.encoder.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(runner.bare_model.encoder.norm.bias)


def test_features_and_tokens_that_collapse(repository, tmp_path):
    options = ["val_cfg.evaluators.spread.type=FeatureSpreadEvaluator"]
    still = {"param_scheduler": [STILL]}
    said = warnings_of(repository, tmp_path, collapse, options, val=True, sections=still)
    assert said.count("The features have collapsed: they are the same for all images") == 1
    assert said.count("The patch tokens of an image are all alike") == 1


@pytest.mark.parametrize(("images", "seen"), [(20, True), (15, False)])
def test_features_that_neighbours_are_measured_with_are_looked_at(images, seen, caplog):
    """Of few images, and before training, nothing is said."""
    runner = SimpleNamespace(iter=1, logger=logging.getLogger("test of health"))
    hook = HealthHook()
    hook.after_features(runner, {"tokens": torch.randn(images, 8)})
    hook.after_features(SimpleNamespace(iter=0), {"tokens": torch.ones(images, 8)})
    assert not caplog.text
    for _ in range(2):
        hook.after_features(runner, {"tokens": torch.ones(images, 8)})
    assert caplog.text.count("The features have collapsed") == int(seen)


def test_features_reach_the_hooks():
    found = []
    batches = [{"inputs": torch.rand(3, 3, 4, 4), "index": torch.arange(3)}]
    model = SimpleNamespace(data_preprocessor=lambda batch: {"images": batch["inputs"]})
    shared = Shared(model, lambda *_: batches, call_hook=lambda name, **values: found.append((name, values)))
    shared.features(batches, {"tokens": lambda model, images: images.flatten(1)})
    (name, values), *more = found
    assert name == "after_features" and values["features"]["tokens"].shape == (3, 48) and not more
