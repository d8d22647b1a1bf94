"""What a run tells: in its log, in its checkpoints, in pictures, to TensorBoard and Weights & Biases."""

import json
import re
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from runs import make_runner, stopped_run
from warm import run_warm

from maetool import __version__
from maetool.config.complete import complete_config
from maetool.config.load import load_config
from maetool.engine.hooks import LogHook, ReconstructionHook
from maetool.engine.train_loop import ResumableTrainLoop
from maetool.errors import UsageError
from maetool.pretrained.card import write_card
from maetool.pretrained.export import encoder_of
from maetool.visualization.curves import draw_runs, read_logs, read_runs
from maetool.weights.read import read_checkpoint


@pytest.fixture(scope="module")
def logged(tmp_path_factory, repository):
    work_dir = tmp_path_factory.mktemp("logged") / "run"
    options = ["default_hooks.logger.interval=1", "gradient_checkpointing=True", "compile.backend=eager"]
    make_runner(repository, work_dir, options=options).train()
    return work_dir


def test_every_report_holds_what_is_promised(logged):
    lines = [json.loads(line) for path in logged.glob("*/vis_data/scalars.json") for line in path.open()]
    reports = [line for line in lines if "loss" in line]
    assert len(reports) == 12
    promised = {"loss", "lr", "grad_norm", "waiting_share", "images_per_second", "peak_memory_gb", "masked_fraction"}
    assert all(promised | {"skipped_steps"} <= report.keys() for report in reports)
    assert reports[-1]["masked_fraction"] == 0.75
    assert 0.05 < reports[-1]["peak_memory_gb"] < 100


def test_the_log_names_versions_seed_config_and_switches(logged):
    log = next(logged.glob("*/*.log")).read_text()
    assert f"maetool {__version__}, revision" in log
    assert f"torch {torch.__version__}" in log
    assert "seed 0, 1 process." in log
    assert "norm_pix_loss = True" in log.replace("norm_pix_loss=True", "norm_pix_loss = True")
    assert "Recomputing the activations of 4 modules" in log
    assert "Compiling 4 blocks" in log


@pytest.mark.parametrize(("accumulated", "steps"), [(1, "12 optimiser steps"), (5, "3 optimiser steps")])
def test_an_optimiser_step_of_fewer_iterations_at_the_end_counts(accumulated, steps):
    cfg = Config({"optim_wrapper": {"accumulative_counts": accumulated}})
    loader = SimpleNamespace(dataset=range(48), batch_size=4)
    runner = SimpleNamespace(cfg=cfg, world_size=1)
    loop = SimpleNamespace(runner=runner, max_iters=12, by_epoch=True, max_epochs=1, dataloader=loader)
    assert f"12 iterations, {steps}." in ResumableTrainLoop._describe(loop)


def test_a_checkpoint_says_where_it_comes_from(logged):
    meta = read_checkpoint(logged / "epoch_3.pth")["meta"]
    assert meta["versions"]["torch"] == str(torch.__version__)
    assert meta["versions"]["revision"]
    assert "MaskedImageModel" in meta["cfg"]
    assert meta["seed"] == 0


class Slow(Hook):
    """Lets every batch come late."""

    def before_train_epoch(self, runner):
        dataset = runner.train_dataloader.dataset
        load = type(dataset).load
        dataset.load = lambda index: time.sleep(0.01) or load(dataset, index)


@pytest.mark.parametrize("slow", [True, False])
def test_waiting_for_data_is_told_once_with_cures(repository, tmp_path, slow):
    threshold = 0.3 if slow else 0.999
    options = [f"custom_hooks.4.threshold={threshold}", "custom_hooks.4.window=2", "val_dataloader=None"]
    runner = make_runner(repository, tmp_path, options=options)
    runner.register_hook(Slow())
    runner.train()
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert log.count("Training waits for data") == int(slow)
    assert ("more workers" in log) == slow


def test_a_log_that_cannot_be_written_does_not_end_training(repository, tmp_path, monkeypatch):
    runner = make_runner(repository, tmp_path, options=["val_dataloader=None"])

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runner.visualizer, "add_scalars", full)
    monkeypatch.setattr("maetool.engine.hooks.reconstruction.save_picture", full)
    runner.train()
    assert (tmp_path / "epoch_3.pth").is_file()
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert "Writing the log failed ([Errno 28] No space left on device); training continues" in log
    assert "Drawing the reconstructions failed" in log


def test_log_hook_is_the_default(repository, tmp_path):
    assert any(isinstance(hook, LogHook) for hook in make_runner(repository, tmp_path).hooks)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("[wandb]", "log_to has wandb, which is not installed: pip install wandb"),
        ("[mlflow]", "log_to has mlflow, which is not installed: pip install mlflow"),
        ("[tensorboard,aim]", "log_to has aim, which is not installed: pip install aim"),
        ("[paper]", "log_to is 'paper', but must be"),
    ],
)
def test_where_to_log_is_checked(repository, tmp_path, monkeypatch, said, message):
    monkeypatch.setattr("maetool.config.complete.is_installed", lambda name: name == "tensorboard")
    with pytest.raises(UsageError, match=message):
        make_runner(repository, tmp_path, options=[f"log_to={said}"])


@pytest.mark.parametrize(("options", "refused"), [([], False), (["log_to=[wandb]"], True)])
def test_a_folder_is_no_package(repository, tmp_path, monkeypatch, options, refused):
    """`wandb` leaves a folder of its name where it runs, which Python takes as a package without files."""
    cfg = load_config(repository / "configs/mae/vit-t_shapes.py", options)
    for name in ("tensorboard", "wandb"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UsageError, match="log_to has wandb, which is not installed") if refused else nullcontext():
        complete_config(cfg)
        assert [dict(each) for each in cfg.visualizer.vis_backends] == [{"type": "LocalVisBackend"}]


# What a dashboard shows: training, speed, and evaluators on a cadence of their own.
SHOWN = {"loss", "grad_norm", "lr", "images_per_second", "waiting_share"}
SHOWN |= {f"val/{name}" for name in ("knn", "linear_probe", "rankme", "feature_deviation", "token_similarity")}
WITH_EVALUATORS = [
    *("val_dataloader.dataset.num_samples=20", "val_cfg.bank_dataloader.dataset.num_samples=20"),
    *("val_cfg.evaluators.spread.type=FeatureSpreadEvaluator", "val_cfg.evaluators.probe.type=LinearProbeEvaluator"),
    *("val_cfg.evaluators.probe.every=2", "train_cfg.val_interval=1"),
]


def test_tensorboard_gets_what_the_json_log_gets(repository, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    make_runner(repository, tmp_path, options=["log_to=[tensorboard]", *WITH_EVALUATORS]).train()
    events = EventAccumulator(str(next(tmp_path.glob("*/vis_data"))))
    events.Reload()
    assert set(events.Tags()["scalars"]) >= SHOWN
    measured = [len(events.Scalars(f"val/{name}")) for name in ("knn", "linear_probe")]
    assert measured == [4, 3]  # before training and after each of 3 epochs; of these every second, and the last


def read_wandb(folder):
    (path,) = folder.glob("run/*/vis_data/wandb/offline-run-*/*.wandb")
    return {name for name in SHOWN if name.encode() in path.read_bytes()}


def read_mlflow(folder):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("maetool").experiment_id])
    assert [each.step for each in client.get_metric_history(run.info.run_id, "loss")][-1] == 12
    return set(run.data.metrics)


def read_aim(folder):
    from aim import Repo
    from aim.cli.storage.commands import storage  # what `aim up` does when it starts
    from click.testing import CliRunner

    CliRunner().invoke(storage, ["--repo", str(folder), "reindex", "-y"])
    repo = Repo.from_path(str(folder))
    (run,) = repo.iter_runs()
    return {metric.name for metric in run.metrics()}


@pytest.mark.parametrize(("name", "read"), [("wandb", read_wandb), ("mlflow", read_mlflow), ("aim", read_aim)])
def test_other_trackers_get_what_the_json_log_gets(repository, tmp_path, monkeypatch, name, read):
    pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    runner = make_runner(repository, tmp_path / "run", options=[f"log_to=[{name}]", *WITH_EVALUATORS])
    runner.train()
    if name == "wandb":
        __import__("wandb").finish()
    assert read(tmp_path) >= SHOWN


@pytest.mark.parametrize(("epochs", "pictures"), [(10, 10), (100, 100), (250, 84), (1600, 100)])
def test_a_long_run_leaves_about_a_hundred_pictures(epochs, pictures):
    runs = [SimpleNamespace(epoch=epoch, max_epochs=epochs) for epoch in range(epochs)]
    due = [ReconstructionHook().is_due(run) for run in runs]
    assert sum(due) == pictures
    assert due[-1]
    assert sum(ReconstructionHook(interval=50).is_due(run) for run in runs) == max(1, epochs // 50)


def test_runs_are_drawn_together(repository, logged, tmp_path):
    stopped_run(repository, tmp_path / "second", stop=7)
    runs = read_runs([logged, tmp_path / "second"], ["loss", "lr"])
    assert list(runs) == ["run", "second"]
    draw_runs(runs, ["loss", "lr"], 3, tmp_path / "out" / "curves.png")
    assert (tmp_path / "out" / "curves.png").stat().st_size > 10_000
    with pytest.raises(UsageError, match="None of the runs logged `los`: choose among"):
        read_runs([logged], ["los"])
    with pytest.raises(UsageError, match="holds no logs of a run"):
        read_runs([tmp_path / "nothing"], ["loss"])


def test_the_encoder_alone_loads_in_timm(repository, logged, tmp_path):
    timm = pytest.importorskip("timm")
    out = tmp_path / "encoder.pth"
    said = run_warm(["tools/export_encoder.py", logged / "epoch_3.pth", "--out", out], repository).stdout
    assert "names as in timm" in said
    exported = read_checkpoint(out)
    encoder = exported["meta"]["encoder"]
    card = out.with_suffix(".md").read_text()
    model = eval(re.search(r"timm\.models\.VisionTransformer\(.*\)", card)[0], {"timm": timm})
    assert model.embed_dim == encoder["embed_dim"]
    model.load_state_dict(exported["state_dict"], strict=True)
    assert exported["meta"]["data_preprocessor"]["type"] == "ImagePreprocessor"
    assert f"{out.with_suffix('.md')}: its model card." in said
    logs = read_logs(logged)
    assert f"- loss {logs['val/loss'][12]:.4f}\n" in card
    assert "| masker | RandomMasker(mask_ratio=0.75) |\n" in card
    assert "| seed | 0 |\n" in card
    assert "It was trained on drawn pictures only" in card


def test_a_card_says_what_nobody_knows(logged, tmp_path):
    alone = tmp_path / "alone.pth"
    state = read_checkpoint(logged / "epoch_3.pth")
    cfg = "train_dataloader = dict(dataset=dict(type='ImageFolderDataset', root='/home/me/photographs'))\n"
    del state["meta"]["config"]  # as in a file of 0.1.0, whose config is text
    state["meta"]["cfg"] += cfg + "init_from = '/home/me/weights.pth'\n"
    state["meta"]["cfg"] = state["meta"]["cfg"].replace(
        "type='PixelTarget'", "type='PixelTarget', bank='/home/me/x.npz'"
    )
    card = write_card(encoder_of(state, str(alone)), state["meta"], alone).read_text()
    assert write_card(encoder_of(state, str(alone)), state["meta"], alone) is None  # there already
    assert "bank=x.npz" in card
    assert "The log of the run was not beside the checkpoint" in card
    assert "| data | ImageFolderDataset, photographs, " in card
    assert "| initial weights | weights.pth |" in card
    assert "/home/me" not in card
    assert "keep their owner's licence" in card
    assert "drawn pictures" not in card


def test_what_has_no_encoder_cannot_be_exported():
    with pytest.raises(UsageError, match=r"no encoder: none of its 1 tensors is called .*first is head.weight"):
        encoder_of({"state_dict": {"head.weight": torch.zeros(1)}}, "x.pth")


@pytest.mark.parametrize(("seconds", "drawings"), [(0.0, 4), (3600.0, 1)])
def test_short_epochs_do_not_draw_the_curve_each_time(repository, tmp_path, monkeypatch, seconds, drawings):
    drawn = []
    monkeypatch.setattr("maetool.engine.hooks.loss_curve.draw_curves", lambda *arguments: drawn.append(arguments))
    hooks = [{"type": "LossCurveHook", "seconds": seconds}]
    make_runner(repository, tmp_path, sections={"custom_hooks": hooks}).train()
    assert len(drawn) == drawings  # after each of three epochs, and at the end
