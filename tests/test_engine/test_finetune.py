"""Fine-tuning and probing as runs: where they begin, what they leave alone, and that they go on exactly."""

import json
from types import SimpleNamespace

import pytest
import torch
from runs import EPOCHS, assert_same, final_state, make_runner, stopped_run
from warm import run_warm

from maetool.config.debug import shrink
from maetool.config.load import load_config
from maetool.errors import UsageError
from maetool.evaluation.on_features import KnnEvaluator
from maetool.metadata.stored_config import read_config
from maetool.visualization.curves import read_logs
from maetool.weights.read import read_checkpoint

FINETUNE = "configs/finetune/vit-t_shapes.py"
PROBE = "configs/linear_probe/vit-t_shapes.py"
KNN = "configs/knn/vit-t_shapes.py"
WHOLE_RECIPE = "configs/finetune/vit-s_100e.py"  # crops, flips, colours, erasing, mixing, smoothing, drop path


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, request):
    work_dir = tmp_path_factory.mktemp("pretrained")
    make_runner(request.getfixturevalue("repository"), work_dir).train()
    return work_dir / f"epoch_{EPOCHS}.pth"


def encoder_in(path):
    weights = read_checkpoint(path)["state_dict"]
    return {name: value for name, value in weights.items() if name.startswith("encoder.")}


def log_of(work_dir):
    return "".join(path.read_text() for path in work_dir.glob("*/*.log"))


def test_fine_tuning_goes_on_exactly(repository, tmp_path):
    """With accumulated gradients and averaged weights, and another number of workers before the stop than after it."""
    make_runner(repository, tmp_path / "pretrained", config="configs/mae/vit-s_800e.py").train()
    recipe = {
        "config": WHOLE_RECIPE,
        "options": [
            f"init_from={tmp_path}/pretrained/epoch_{EPOCHS}.pth",
            "effective_batch_size=8",
            "model.encoder.drop_path_rate=0.5",
        ],
        "hooks": [{"type": "EMAHook", "momentum": 0.1}],
    }
    make_runner(repository, tmp_path / "unbroken", every=0, **recipe).train()
    stopped_run(repository, tmp_path / "broken", 9, workers=1, **recipe)
    make_runner(repository, tmp_path / "broken", resume=True, **recipe).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))
    whole, broken = (read_checkpoint(tmp_path / name / f"epoch_{EPOCHS}.pth") for name in ("unbroken", "broken"))
    assert_same(whole["ema_state_dict"], broken["ema_state_dict"])
    assert not torch.equal(whole["state_dict"]["head.weight"], whole["ema_state_dict"]["module.head.weight"])


def test_a_run_begins_with_the_pretrained_encoder(repository, tmp_path, pretrained):
    still = ["base_lr=0.0", "param_scheduler.0.min_lr=0.0"]
    runner = make_runner(repository, tmp_path, config=FINETUNE, options=[*still, f"init_from={pretrained}"])
    runner.train()
    expected = {name: v for name, v in encoder_in(pretrained).items() if not name.startswith("encoder.norm.")}
    assert_same(expected, {name: v for name, v in runner.bare_model.state_dict().items() if name in expected})
    log = log_of(tmp_path)
    assert f"The model starts from {pretrained}. 100.0% of the encoder is filled." in log
    assert "2 missing, so untrained" not in log  # fc_norm has two tensors, the head has two
    assert "4 missing, so untrained (fc_norm.weight, fc_norm.bias, head.weight, head.bias)" in log
    assert log.count("Learning rates by layer:") == 1


def test_a_run_without_a_checkpoint_says_so(repository, tmp_path):
    make_runner(repository, tmp_path, config=PROBE).train()
    assert "The encoder starts from random weights; --init CHECKPOINT loads pretrained ones." in log_of(tmp_path)


def test_a_probe_leaves_the_encoder_as_it_was_and_goes_on_exactly(repository, tmp_path, pretrained):
    options = {"config": PROBE, "options": [f"init_from={pretrained}"]}
    make_runner(repository, tmp_path / "unbroken", every=0, **options).train()
    stopped_run(repository, tmp_path / "broken", 7, **options)
    make_runner(repository, tmp_path / "broken", resume=True, **options).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))
    assert_same(encoder_in(pretrained), encoder_in(tmp_path / "unbroken" / f"epoch_{EPOCHS}.pth"))
    assert len(final_state(tmp_path / "unbroken")[1]) == 2  # the optimiser knows weight and bias of the head


def test_knn_takes_the_encoder_of_a_checkpoint_and_trains_nothing(repository, tmp_path, pretrained):
    runner = make_runner(repository, tmp_path, config=KNN)
    runner.measure_from(str(pretrained), runner.val_loop)
    metrics = runner.val()
    assert [name for name in read_logs(tmp_path) if name.startswith("val/")] == ["val/knn"]
    assert_same(encoder_in(pretrained), {n: v for n, v in runner.bare_model.state_dict().items() if "encoder." in n})
    assert metrics == as_in_0_1(repository, tmp_path / "old", pretrained)


def as_in_0_1(repository, work_dir, pretrained):
    """Return what a config of 0.1 measures, whose kNN is a training of no epochs."""
    sections = {
        "train_dataloader": load_config(repository / "configs/mae/vit-t_shapes.py").train_dataloader,
        "train_cfg": {"type": "ResumableTrainLoop", "max_epochs": 0, "val_at_start": True},
        "optim_wrapper": {"type": "AutocastOptimWrapper", "optimizer": {"type": "SGD", "lr": 0.0}},
    }
    cfg = load_config(repository / KNN)
    shrink(cfg)
    sections["val_cfg"] = {"type": "KnnValLoop", "k": 20, "bank_dataloader": cfg.val_cfg.bank_dataloader}
    runner = make_runner(repository, work_dir, config=KNN, options=[f"init_from={pretrained}"], sections=sections)
    runner.train()
    assert runner.iter == 0
    return {name.removeprefix("val/"): v[0] for name, v in read_logs(work_dir).items() if name.startswith("val/")}


def test_knn_takes_all_of_a_checkpoint_that_has_all(repository, tmp_path, pretrained):
    """Features may pass a layer that only the classifier has."""
    make_runner(repository, tmp_path / "a", config=FINETUNE, options=[f"init_from={pretrained}"]).train()
    sections = {"val_cfg": load_config(repository / KNN).val_cfg, "train_dataloader": None}
    sections |= {"train_cfg": None, "optim_wrapper": None, "param_scheduler": None}
    runner = make_runner(repository, tmp_path / "b", config=FINETUNE, sections=sections)
    runner.measure_from(str(tmp_path / "a" / f"epoch_{EPOCHS}.pth"), runner.val_loop)
    runner.val()
    expected = read_checkpoint(tmp_path / "a" / f"epoch_{EPOCHS}.pth")["state_dict"]
    assert_same(dict(expected), dict(runner.bare_model.state_dict()))


def test_the_command_measures_features_and_the_old_one_names_it(repository, tmp_path, pretrained):
    small = ["--cfg-options", "val_dataloader.dataset.num_samples=16", "val_cfg.bank_dataloader.dataset.num_samples=16"]
    small += [f"model.encoder.{name}={read_config_of(pretrained)[name]}" for name in ("depth", "embed_dim", "img_size")]
    for number, checkpoint in enumerate(([str(pretrained)], [])):
        place = tmp_path / str(number)
        result = run_warm(["tools/test.py", KNN, *checkpoint, "--work-dir", place, *small], repository)
        assert result.returncode == 0, result.stderr[-2000:]
        assert list(json.loads((place / "metrics.json").read_text())) == ["knn"]
        assert ("of the encoder is filled" in result.stdout + result.stderr) == bool(checkpoint)
    result = run_warm(["tools/train.py", KNN, "--init", pretrained, "--work-dir", tmp_path / "x"], repository)
    assert result.returncode == 2
    assert f"{KNN} defines an evaluation and no training: run maetool test {KNN} CHECKPOINT" in result.stderr


def test_nothing_but_features_is_measured_of_random_weights(repository, tmp_path):
    runner = make_runner(repository, tmp_path, config=FINETUNE)
    with pytest.raises(UsageError, match="There is no checkpoint to measure: add one after the config"):
        runner.measure_from(None, runner.val_loop)


def read_config_of(checkpoint):
    return read_config(read_checkpoint(checkpoint)["meta"])["model"]["encoder"]


def test_knn_needs_neighbours(repository, tmp_path):
    with pytest.raises(UsageError, match="kNN needs labelled neighbours"):
        make_runner(repository, tmp_path, config=KNN, options=["val_cfg.bank_dataloader=None"]).val()


def test_knn_of_several_labels_an_image_names_the_command_that_judges_them():
    several = SimpleNamespace(classes=["a", "b"], labels=torch.zeros(4, 2))
    data = SimpleNamespace(bank={}, dataset=several, other=lambda loader, name: SimpleNamespace(dataset=several))
    with pytest.raises(UsageError, match="images of one class each, but these may have several labels: `maetool quick"):
        KnnEvaluator().collected(data, {})


def test_data_of_other_classes_is_refused(repository, tmp_path):
    with pytest.raises(UsageError, match=r"data has 8 classes \(horizontal stripes, .*\), but model.num_classes is 5"):
        make_runner(repository, tmp_path, config=FINETUNE, options=["model.num_classes=5"]).train()


def test_a_probe_of_a_checkpoint_without_an_encoder(repository, tmp_path, pretrained):
    path = tmp_path / "decoder.pth"
    weights = read_checkpoint(pretrained)["state_dict"]
    torch.save({name: value for name, value in weights.items() if name.startswith("decoder.")}, path)
    with pytest.raises(UsageError, match=f"{path} holds no encoder"):
        make_runner(repository, tmp_path / "w", config=PROBE, options=[f"init_from={path}"]).train()
