"""A run that stops and goes on ends bit for bit where an unbroken one ends."""

import pytest
import torch
from mmengine.hooks import Hook

from maetool.engine import launch
from maetool.engine.checkpoint import POINTER, read_checkpoint
from maetool.engine.config import load_config
from maetool.engine.debug import shrink
from maetool.errors import UsageError

EPOCHS, ITERS = 3, 4


class StopAt(Hook):
    """Ends the run as Ctrl-C does, after an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise KeyboardInterrupt


def make_runner(repository, work_dir, resume=False, workers=0, config="configs/mae/vit-t_shapes.py", repeats=1):
    cfg = load_config(repository / config)
    shrink(cfg)
    cfg.train_dataloader.dataset.num_samples = 4 * ITERS
    cfg.train_dataloader.num_workers = workers
    cfg.train_dataloader.sampler.repeats = repeats
    cfg.train_cfg.max_epochs = EPOCHS
    cfg.default_hooks.checkpoint.every_n_iters = 1
    cfg.work_dir, cfg.resume = str(work_dir), resume
    return launch.build_runner(cfg)


def final_state(work_dir):
    state = read_checkpoint(work_dir / f"epoch_{EPOCHS}.pth")
    return state["state_dict"], state["optimizer"]["state"], state["param_schedulers"], state["meta"]["iter"]


def assert_same(ours, theirs):
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    else:
        assert ours == theirs


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, request):
    repository = request.getfixturevalue("repository")
    work_dir = tmp_path_factory.mktemp("unbroken")
    make_runner(repository, work_dir).train()
    return final_state(work_dir)


@pytest.mark.parametrize("stop", [1, 3, 4, 6, 11])
def test_stopped_and_resumed_equals_unbroken(repository, tmp_path, unbroken, stop):
    runner = make_runner(repository, tmp_path)
    runner.register_hook(StopAt(stop), "LOWEST")
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    (tmp_path / ".epoch_9.pth.123.tmp").touch()  # as a kill in the middle of a write leaves it
    (tmp_path / "mine.pth").touch()
    make_runner(repository, tmp_path, resume=True).train()
    assert_same(unbroken, final_state(tmp_path))
    kept = sorted(path.name for path in tmp_path.iterdir() if ".pth" in path.name)
    assert kept == ["epoch_3.pth", "iter_12.pth", "mine.pth"]


def test_a_schedule_of_maskers_goes_on_exactly(repository, tmp_path):
    config = "configs/colormae/vit-t-schedule_shapes.py"
    make_runner(repository, tmp_path / "unbroken", config=config).train()
    runner = make_runner(repository, tmp_path / "broken", config=config)
    runner.register_hook(StopAt(7), "LOWEST")
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    make_runner(repository, tmp_path / "broken", resume=True, config=config).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))


def test_repeated_augmentation_goes_on_exactly_in_the_middle_of_an_image(repository, tmp_path, unbroken):
    make_runner(repository, tmp_path / "unbroken", repeats=3).train()  # three crops an image, four samples a batch
    runner = make_runner(repository, tmp_path / "broken", repeats=3, workers=1)
    runner.register_hook(StopAt(6), "LOWEST")
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    make_runner(repository, tmp_path / "broken", resume=True, repeats=3).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))
    assert final_state(tmp_path / "broken")[3] == unbroken[3]  # as many iterations as without repeats
    weights = final_state(tmp_path / "broken")[0]
    assert not all(torch.equal(value, unbroken[0][name]) for name, value in weights.items())


def test_the_number_of_workers_changes_nothing(repository, tmp_path, unbroken):
    make_runner(repository, tmp_path, workers=2).train()
    assert_same(unbroken, final_state(tmp_path))


def test_damaged_newest_checkpoint_is_named_and_the_one_before_is_taken(repository, tmp_path, unbroken, caplog):
    runner = make_runner(repository, tmp_path)
    runner.register_hook(StopAt(7), "LOWEST")
    with pytest.raises(KeyboardInterrupt):
        runner.train()
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


def test_resume_with_another_batch_size_is_refused(repository, tmp_path):
    runner = make_runner(repository, tmp_path)
    runner.register_hook(StopAt(7), "LOWEST")
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    cfg = load_config(repository / "configs/mae/vit-t_shapes.py")
    shrink(cfg)
    cfg.work_dir, cfg.resume = str(tmp_path), True
    with pytest.raises(UsageError, match="resume with the data, batch size"):
        launch.build_runner(cfg).train()


def test_an_earlier_run_is_not_overwritten(repository, tmp_path):
    make_runner(repository, tmp_path).train()
    with pytest.raises(UsageError, match="--resume"):
        launch.refuse_to_overwrite(str(tmp_path))
    assert len(list(tmp_path.glob("*.pth"))) == 2  # keep=2
