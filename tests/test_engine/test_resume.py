"""A run that stops and goes on ends bit for bit where an unbroken one ends."""

import json
from pathlib import Path

import pytest
import torch
from runs import EPOCHS, ITERS, assert_same, final_state, make_runner, stopped_run
from warm import run_warm

from maetool.engine import launch
from maetool.errors import UsageError
from maetool.weights.read import read_checkpoint
from maetool.weights.work_dir import POINTER


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, request):
    repository = request.getfixturevalue("repository")
    work_dir = tmp_path_factory.mktemp("unbroken")
    make_runner(repository, work_dir, every=0).train()
    return final_state(work_dir)


@pytest.mark.parametrize("stop", [1, 3, 4, 6, 11])
def test_stopped_and_resumed_equals_unbroken(repository, tmp_path, unbroken, stop):
    stopped_run(repository, tmp_path, stop)
    (tmp_path / ".epoch_9.pth.123.tmp").touch()
    (tmp_path / ".last_checkpoint.123.tmp").touch()  # as a kill in the middle of a write leaves it
    (tmp_path / "mine.pth").touch()
    make_runner(repository, tmp_path, resume=True).train()
    assert_same(unbroken, final_state(tmp_path))
    kept = sorted(path.name for path in tmp_path.iterdir() if path.is_file() and path.suffix != ".py")
    assert kept == [".lock", "epoch_3.pth", "iter_12.pth", "last_checkpoint", "loss_curve.png", "mine.pth"]


def test_a_schedule_of_maskers_goes_on_exactly(repository, tmp_path):
    config = "configs/colormae/vit-t-schedule_shapes.py"
    make_runner(repository, tmp_path / "unbroken", every=0, config=config).train()
    stopped_run(repository, tmp_path / "broken", config=config)
    make_runner(repository, tmp_path / "broken", resume=True, config=config).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))


def test_repeated_augmentation_goes_on_exactly_in_the_middle_of_an_image(repository, tmp_path, unbroken):
    repeated = ["train_dataloader.sampler.repeats=3"]
    make_runner(
        repository, tmp_path / "unbroken", every=0, options=repeated
    ).train()  # three crops an image, four samples a batch
    stopped_run(repository, tmp_path / "broken", options=repeated, workers=1)
    make_runner(repository, tmp_path / "broken", resume=True, options=repeated).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))
    assert final_state(tmp_path / "broken")[3] == unbroken[3]  # as many iterations as without repeats
    weights = final_state(tmp_path / "broken")[0]
    assert not all(torch.equal(value, unbroken[0][name]) for name, value in weights.items())


def test_the_number_of_workers_changes_nothing(repository, tmp_path, unbroken):
    make_runner(repository, tmp_path, workers=2).train()
    assert_same(unbroken, final_state(tmp_path))


def test_workers_of_a_fork_server_change_nothing_and_end_with_the_program(repository, tmp_path, unbroken):
    """The way that workers start on Python 3.14."""
    said = {"repository": str(repository), "work_dir": str(tmp_path), "workers": 1}
    said["options"] = ["env_cfg.mp_cfg.mp_start_method=forkserver", "val_dataloader=None"]
    said["options"] += ["train_dataloader.persistent_workers=True"]  # each would import torch anew
    command = [Path(__file__).parent / "runs.py", json.dumps(said)]
    run_warm(command, repository, OMP_NUM_THREADS=torch.get_num_threads(), PYTHONPATH=repository).check_returncode()
    assert_same(unbroken, final_state(tmp_path))


def test_damaged_newest_checkpoint_is_named_and_the_one_before_is_taken(repository, tmp_path, unbroken, caplog):
    stopped_run(repository, tmp_path, 7)
    newest = tmp_path / (tmp_path / POINTER).read_text()
    newest.write_bytes(newest.read_bytes()[:-1000])
    resumed = make_runner(repository, tmp_path, resume=True)
    resumed.train()
    assert_same(unbroken, final_state(tmp_path))
    log = "".join(path.read_text() for path in tmp_path.glob("*/*.log"))
    assert f"{newest} is damaged" in log


def test_resume_with_nothing_to_resume_starts_anew(repository, tmp_path, unbroken):
    make_runner(repository, tmp_path, resume=True).train()
    assert_same(unbroken, final_state(tmp_path))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("train_dataloader.dataset.num_samples=12", "number of images 16, but it is 12 now"),
        ("randomness.seed=1", "trained with seed 0, but it is 1 now"),
        ("train_dataloader.batch_size=8", "after 12 images of its epoch, 4 at a time"),
    ],
)
def test_resume_of_another_run_is_refused(repository, tmp_path, option, message):
    stopped_run(repository, tmp_path)
    with pytest.raises(UsageError, match=message):
        make_runner(repository, tmp_path, resume=True, options=[option]).train()


def test_resume_with_half_the_batch_accumulated_goes_on_where_it_was(repository, tmp_path, unbroken):
    stopped_run(repository, tmp_path)
    runner = make_runner(
        repository, tmp_path, resume=True, options=["train_dataloader.batch_size=2", "effective_batch_size=4"]
    )
    runner.train()
    assert runner.iter == 2 * ITERS * EPOCHS
    weights, optimizer, _, iteration = final_state(tmp_path)
    assert iteration == 2 * ITERS * EPOCHS
    for name, value in unbroken[0].items():
        torch.testing.assert_close(weights[name], value, atol=1e-5, rtol=1e-4)  # Adam enlarges rounding
    assert all(int(entry["step"]) == ITERS * EPOCHS for entry in optimizer.values())


def test_stopped_in_the_middle_of_an_accumulation(repository, tmp_path):
    options = ["effective_batch_size=12", "optim_wrapper.clip_grad.max_norm=0.5"]
    make_runner(repository, tmp_path / "unbroken", every=0, options=options).train()
    stopped_run(repository, tmp_path / "broken", stop=8, options=options)
    assert read_checkpoint(tmp_path / "broken" / "iter_8.pth")["optimizer"]["gradients"]
    make_runner(repository, tmp_path / "broken", resume=True, options=options).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))


def test_drop_path_and_averaged_weights_go_on_exactly(repository, tmp_path):
    options = ["model.encoder.drop_path_rate=0.5"]
    hooks = [{"type": "EMAHook", "momentum": 0.1}]
    make_runner(repository, tmp_path / "unbroken", every=0, options=options, hooks=hooks).train()
    stopped_run(repository, tmp_path / "broken", options=options, hooks=hooks)
    make_runner(repository, tmp_path / "broken", resume=True, options=options, hooks=hooks).train()
    whole, broken = (read_checkpoint(tmp_path / name / f"epoch_{EPOCHS}.pth") for name in ("unbroken", "broken"))
    assert_same(whole["ema_state_dict"], broken["ema_state_dict"])
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))
    name = "encoder.blocks.0.mlp.fc1.weight"
    assert not torch.equal(whole["state_dict"][name], whole["ema_state_dict"]["module." + name])


def test_histories_of_the_log_come_back(repository, tmp_path):
    stopped_run(repository, tmp_path)
    before = read_checkpoint(tmp_path / "iter_7.pth")["message_hub"]["log_scalars"]["train/loss"]["history"]
    runner = make_runner(repository, tmp_path, resume=True)
    runner.train()
    values, _ = runner.message_hub.get_scalar("train/loss").data
    assert len(values) == ITERS * EPOCHS
    assert values[:7].tolist() == before.tolist()


def test_a_longer_training_can_be_asked_for(repository, tmp_path):
    make_runner(repository, tmp_path).train()
    runner = make_runner(repository, tmp_path, resume=True, options=[f"train_cfg.max_epochs={EPOCHS + 1}"])
    runner.train()
    assert runner.iter == ITERS * (EPOCHS + 1)
    assert 0 < runner.param_schedulers[0].at(EPOCHS + 0.5, 1.0) < 0.2


def test_an_earlier_run_is_not_overwritten(repository, tmp_path):
    make_runner(repository, tmp_path).train()
    with pytest.raises(UsageError, match="--resume"):
        launch.refuse_to_overwrite(str(tmp_path))
    assert len(list(tmp_path.glob("*.pth"))) == 2  # keep=2
