"""Fine-tuning and probing as runs: where they begin, what they leave alone, and that they go on exactly."""

import pytest
import torch
from runs import EPOCHS, assert_same, final_state, make_runner, stopped_run

from maetool.errors import UsageError
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
    make_runner(repository, tmp_path / "unbroken", **recipe).train()
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
    assert f"The model begins with {pretrained}. 100.0% of the encoder is filled." in log
    assert "2 missing, so untrained" not in log  # fc_norm has two tensors, the head has two
    assert "4 missing, so untrained (fc_norm.weight, fc_norm.bias, head.weight, head.bias)" in log
    assert log.count("Learning rates by layer:") == 1


def test_a_run_without_a_checkpoint_says_so(repository, tmp_path):
    make_runner(repository, tmp_path, config=PROBE).train()
    assert "The encoder begins with random weights; --init CHECKPOINT gives it pretrained ones." in log_of(tmp_path)


def test_a_probe_leaves_the_encoder_as_it_was_and_goes_on_exactly(repository, tmp_path, pretrained):
    options = {"config": PROBE, "options": [f"init_from={pretrained}"]}
    make_runner(repository, tmp_path / "unbroken", **options).train()
    stopped_run(repository, tmp_path / "broken", 7, **options)
    make_runner(repository, tmp_path / "broken", resume=True, **options).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))
    assert_same(encoder_in(pretrained), encoder_in(tmp_path / "unbroken" / f"epoch_{EPOCHS}.pth"))
    assert len(final_state(tmp_path / "unbroken")[1]) == 2  # the optimiser knows weight and bias of the head


def test_knn_trains_nothing(repository, tmp_path, pretrained):
    options = [f"init_from={pretrained}", "train_cfg.max_epochs=0"]
    runner = make_runner(repository, tmp_path, config=KNN, options=options)
    runner.train()
    assert runner.iter == 0
    assert [name for name in read_logs(tmp_path) if name.startswith("val/")] == ["val/knn"]
    assert_same(encoder_in(pretrained), {n: v for n, v in runner.bare_model.state_dict().items() if "encoder." in n})


def test_knn_needs_neighbours(repository, tmp_path):
    options = ["train_cfg.max_epochs=0", "val_cfg.bank_dataloader=None"]
    with pytest.raises(UsageError, match="kNN needs labelled neighbours"):
        make_runner(repository, tmp_path, config=KNN, options=options).train()


def test_data_of_other_classes_is_refused(repository, tmp_path):
    with pytest.raises(UsageError, match=r"data has 8 classes \(horizontal stripes, .*\), but model.num_classes is 5"):
        make_runner(repository, tmp_path, config=FINETUNE, options=["model.num_classes=5"]).train()


def test_a_probe_of_a_checkpoint_without_an_encoder(repository, tmp_path, pretrained):
    path = tmp_path / "decoder.pth"
    weights = read_checkpoint(pretrained)["state_dict"]
    torch.save({name: value for name, value in weights.items() if name.startswith("decoder.")}, path)
    with pytest.raises(UsageError, match=f"{path} holds no encoder"):
        make_runner(repository, tmp_path / "w", config=PROBE, options=[f"init_from={path}"]).train()
