"""A run whose samples are two views: trained, measured, drawn, resumed and, where a step breaks, repeated."""

import math
import sys

import pytest
from mmengine.hooks import Hook
from runs import assert_same, final_state, make_runner, stopped_run

from maetool.commands import repeat_step
from maetool.config.complete import complete_config
from maetool.config.load import load_config
from maetool.engine import launch
from maetool.engine.repeat import RepeatedStep
from maetool.errors import UsageError

VIEWS = [{"type": "GlobalToLocalViews"}]
OPTIONS = ["model.view=local"]


def sections(repository, workers=0):
    """Return loaders whose samples are views."""
    cfg = load_config(repository / "configs/mae/vit-t_shapes.py")
    loaders = {name: cfg[name] for name in ("train_dataloader", "val_dataloader")}
    for loader in loaders.values():
        loader.dataset.update(num_samples=16 if loader is loaders["train_dataloader"] else 8, pipeline=VIEWS)
        loader.update(batch_size=4, num_workers=0)
    loaders["train_dataloader"].num_workers = workers
    return loaders


class SpoilView(Hook):
    """Puts an infinite number into one view of the second image of the fifth iteration."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == 5:
            data_batch["inputs"] = {name: view.float() for name, view in data_batch["inputs"].items()}
            data_batch["inputs"]["local"][1, :, 5, 5] = math.inf


def test_a_run_on_views_resumes_exactly(repository, tmp_path):
    settings = {"options": OPTIONS, "sections": sections(repository, workers=2)}
    runner = make_runner(repository, tmp_path / "unbroken", every=0, **settings)
    runner.train()
    assert {"val/loss", "val/knn"} <= runner.message_hub.log_scalars.keys()
    assert len(list((tmp_path / "unbroken" / "reconstructions").glob("*.png"))) == 3
    stopped_run(repository, tmp_path / "broken", **settings)
    make_runner(repository, tmp_path / "broken", resume=True, **settings).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))


@pytest.mark.parametrize("name", ["attmask/ibot-t_shapes", "macrl/vit-t_shapes"])
def test_a_run_on_crops_resumes_exactly(repository, tmp_path, name):
    """With what moves beside the weights: the centre and the temperature of targets, and the memory of a contrast."""
    settings = {"config": f"configs/{name}.py", "options": ["val_cfg=None", "val_dataloader=None"]}
    make_runner(repository, tmp_path / "unbroken", every=0, **settings).train()
    stopped_run(repository, tmp_path / "broken", **settings)
    make_runner(repository, tmp_path / "broken", resume=True, **settings).train()
    state = final_state(tmp_path / "unbroken")
    assert_same(state, final_state(tmp_path / "broken"))
    moving = ("target_centre", "target_temperature") if "ibot" in name else ("bank",)
    assert all(any(entry.endswith(one) for entry in state[0]) for one in moving)


def test_a_step_on_views_can_be_repeated(repository, tmp_path, monkeypatch, capsys):
    settings = {"options": [*OPTIONS, "val_dataloader=None"], "sections": sections(repository)}
    runner = make_runner(repository, tmp_path, **settings)
    runner.register_hook(SpoilView(), "LOWEST")
    runner.train()
    path = tmp_path / "broken_steps" / "iter_5_process_0.pth"
    step = RepeatedStep(str(path))
    assert step.batch["inputs"].keys() == {"global", "local"}
    found = step.run()
    assert found["samples"] == [1] and not math.isfinite(found["loss"])
    monkeypatch.setattr(sys, "argv", ["maetool repeat_step", str(path)])
    repeat_step.main()
    out = capsys.readouterr().out
    assert "global: (4, 3, 16, 16), from 0 to 255." in out and "local: (4, 3, 16, 16), from 0 to inf." in out


def test_a_model_of_a_view_needs_views(repository, tmp_path):
    runner = make_runner(repository, tmp_path, options=[*OPTIONS, "val_dataloader=None"])
    with pytest.raises(UsageError, match="uses the view 'local', but the batch has one tensor"):
        runner.train()


def test_an_encoder_of_clips_says_size_and_frames(repository):
    cfg = load_config(repository / "configs/mae/vit-t_shapes.py")
    cfg.model.encoder.update(img_size=(4, 16, 24), patch_size=(2, 8, 8))
    crop = {"type": "RandomResizedCrop"}
    for loader, pipeline in ((cfg.train_dataloader, [crop]), (cfg.val_dataloader, [])):
        loader.dataset = {"type": "MovingShapesDataset", "num_samples": 8, "pipeline": pipeline}
    complete_config(cfg)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert (loader.dataset.frames, loader.dataset.img_size) == (4, (16, 24))
    assert cfg.train_dataloader.dataset.pipeline[0]["size"] == (16, 24)
    cfg.val_dataloader.dataset.frames = 8
    with pytest.raises(UsageError, match=r"val_dataloader.dataset has frames=8, but the encoder has 4"):
        complete_config(cfg)


def test_the_only_stem_of_an_encoder_says_size_and_channels(repository):
    cfg = load_config(repository / "configs/mae/vit-t_shapes.py")
    stem = {"type": "GroupStem", "img_size": 48, "patch_size": 8, "in_chans": 5, "groups": {"a": [0, 4], "b": [2]}}
    cfg.model.encoder = {"type": "StreamTransformer", "stems": {"bands": stem}}
    cfg.train_dataloader.dataset.pipeline = [{"type": "RandomResizedCrop"}]
    complete_config(cfg)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert (loader.dataset.in_chans, loader.dataset.img_size) == (5, (48, 48))
    assert cfg.train_dataloader.dataset.pipeline[0]["size"] == (48, 48)
    cfg.val_dataloader.dataset.in_chans = 4
    with pytest.raises(UsageError, match=r"val_dataloader.dataset has in_chans=4, but the encoder has 5"):
        complete_config(cfg)


def test_drawn_pictures_have_the_size_of_their_crops_where_an_encoder_reads_ids(repository):
    cfg = load_config(repository / "configs/mage/vit-b_1600e.py")
    shapes = {"type": "ShapesDataset", "num_samples": 8, "pipeline": cfg.train_dataloader.dataset.pipeline}
    cfg.train_dataloader.dataset = shapes
    cfg.val_dataloader.dataset = {**shapes, "img_size": 64}
    complete_config(cfg)
    assert (cfg.train_dataloader.dataset.img_size, cfg.val_dataloader.dataset.img_size) == (256, 64)


def test_reconstructions_of_streams_are_refused_at_the_start(repository, tmp_path):
    runner = make_runner(repository, tmp_path)
    launch._check_pictures(runner)
    runner.bare_model.encoder.streams = {"rgb": {}, "depth": {}}
    with pytest.raises(UsageError, match="one stream of images or clips, but the encoder reads rgb, depth"):
        launch._check_pictures(runner)
