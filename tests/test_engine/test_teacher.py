"""The averaged encoder in a run: it moves with the steps, and goes on exactly."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from runs import EPOCHS, assert_same, final_state, make_runner, stopped_run
from test_guard import Spoil
from torch import nn

from maetool.engine.hooks import MaskerProgressHook, TeacherHook
from maetool.errors import UsageError
from maetool.maskers import RandomMasker
from maetool.registry import HOOKS
from maetool.weights.read import read_checkpoint

AVERAGED = """
_base_ = "{}"
model = dict(target=dict(_delete_=True, type="MomentumFeatureTarget", momentum=0.99))
"""
NAME = "target.teacher.blocks.0.mlp.fc1.weight"


@pytest.fixture
def config(repository, tmp_path):
    """The tiny MaskDistill with the averaged encoder as its teacher."""
    path = tmp_path / "averaged.py"
    path.write_text(AVERAGED.format(repository / "configs/maskdistill/vit-t_shapes.py"))
    return path


def test_a_stopped_run_ends_with_the_same_teacher(repository, tmp_path, config):
    options = ["effective_batch_size=12", "model.encoder.drop_path_rate=0.5"]  # stopped in the middle of a step
    make_runner(repository, tmp_path / "unbroken", every=0, config=config, options=options).train()
    stopped_run(repository, tmp_path / "broken", config=config, options=options)
    make_runner(repository, tmp_path / "broken", resume=True, config=config, options=options).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))
    weights = final_state(tmp_path / "unbroken")[0]
    assert not torch.equal(weights[NAME], weights[NAME.replace("target.teacher", "encoder")])


def test_the_teacher_moves_only_with_the_steps(repository, tmp_path, config):
    options = ["effective_batch_size=16", "default_hooks.checkpoint.keep=20"]  # four iterations make a step
    make_runner(repository, tmp_path, config=config, options=options).train()
    teacher = [read_checkpoint(tmp_path / f"iter_{i}.pth")["state_dict"][NAME] for i in (5, 7, 9, 11)]
    assert torch.equal(teacher[0], teacher[1])  # the second step is made after the eighth
    assert not torch.equal(teacher[1], teacher[2])
    assert torch.equal(teacher[2], teacher[3])


def test_the_schedule_of_the_average_by_hand(repository, tmp_path, config):
    options = ["default_hooks.checkpoint.keep=20", "model.target.momentum=0.5"]
    runner = make_runner(repository, tmp_path, config=config, options=options)
    wanted = runner.bare_model.state_dict()[NAME].clone()
    runner.train()
    total = 4 * EPOCHS
    for iteration in range(total):
        path = tmp_path / (f"epoch_{EPOCHS}.pth" if iteration + 1 == total else f"iter_{iteration + 1}.pth")
        weights = read_checkpoint(path)["state_dict"]
        moved = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * iteration / total))) / 2
        wanted = wanted + moved * (weights[NAME.replace("target.teacher", "encoder")] - wanted)
        assert torch.allclose(weights[NAME], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "options", "sentence"),
    [
        (
            "configs/maskfeat/vit-t_shapes.py",
            ["custom_hooks.0.type=ReconstructionHook"],
            "HOGTarget cannot be turned back into",
        ),
        ("configs/dbot/vit-t_shapes.py", ["model.target.teacher.patch_size=8"], "teacher has patches of 8x8 pixels"),
        ("configs/dbot/vit-t_shapes.py", ["model.target.checkpoint=no.pth"], "There is no checkpoint no.pth"),
        ("configs/dbot/vit-t_shapes.py", ["model.target.layers=[5]"], r"layers is \[5\], but an encoder of 2 blocks"),
        ("configs/dbot/vit-t_shapes.py", ["model.target.teacher.typ=Vit"], "no argument `typ`"),
        ("configs/ccvit/vit-t_shapes.py", ["model.target.codebook=no.pth"], "There is no tokenizer file no.pth"),
        ("configs/ccvit/vit-t_shapes.py", ["model.target.source.type=PixlTarget"], "did you mean `PixelTarget`"),
        ("configs/ccvit/vit-t_shapes.py", ["model.head.type=RegressionHead"], "TokenTarget gives tokens"),
        (
            "configs/mrmae/vit-t_shapes.py",
            ["model.tasks.mimic.at=planned"],
            "VisibleDecoder is for visible patches only",
        ),
    ],
)
def test_bad_input_is_told_before_training(repository, tmp_path, config, options, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        make_runner(repository, tmp_path, config=config, options=options)
    assert "\n" not in str(info.value)


@pytest.fixture
def pretrained(repository, tmp_path):
    """A checkpoint of pretraining whose encoder is that of the averaged one's config."""
    make_runner(repository, tmp_path / "pretrained").train()
    return tmp_path / "pretrained" / f"epoch_{EPOCHS}.pth"


def same_tensors(model):
    pairs = zip(model.target.teacher.state_dict().values(), model.encoder.state_dict().values(), strict=True)
    return [torch.equal(average, value) for average, value in pairs]


def test_init_reaches_the_average(repository, tmp_path, config, pretrained):
    options = [f"init_from={pretrained}"]
    runner = make_runner(repository, tmp_path / "run", config=config, options=options, hooks=[{"type": "Begin"}])
    runner.train()
    weights = read_checkpoint(pretrained)["state_dict"]
    begin = next(hook for hook in runner.hooks if isinstance(hook, Begin))
    assert torch.equal(begin.weights[NAME], weights[NAME.replace("target.teacher", "encoder")])
    assert all(begin.same)
    log = "".join(path.read_text() for path in (tmp_path / "run").glob("*/*.log"))
    assert "initialised from these by a part of the model (target.teacher." in log


def test_weights_of_a_run_with_an_average_keep_it(repository, tmp_path, config):
    make_runner(repository, tmp_path / "first", config=config).train()
    path = tmp_path / "first" / f"epoch_{EPOCHS}.pth"
    for name in ("load_from", "init_from"):
        hooks = [{"type": "Begin"}]
        runner = make_runner(repository, tmp_path / name, config=config, options=[f"{name}={path}"], hooks=hooks)
        runner.train()
        begin = next(hook for hook in runner.hooks if isinstance(hook, Begin))
        assert torch.equal(begin.weights[NAME], read_checkpoint(path)["state_dict"][NAME])
        assert not all(begin.same)


@HOOKS.register_module()
class Begin(Hook):
    """Keeps the weights that training begins with."""

    def before_train(self, runner):
        self.weights = {name: value.clone() for name, value in runner.bare_model.state_dict().items()}
        self.same = same_tensors(runner.bare_model)


class Following(nn.Module):
    """A part of a plugin, somewhere in the model."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def follow(self, encoder, progress):
        self.calls.append((type(encoder).__name__, progress))


class Moving(Following):
    def start(self, model):
        self.calls.append(("start", type(model).__name__))

    def after_step(self, model, progress):
        self.calls.append((type(model).__name__, progress))


def calls_of(runner, part):
    runner.bare_model.head.add_module("part", part)
    runner.train()
    return part.calls


def test_follow_of_a_plugin_is_called_for_every_step_that_was_made(repository, tmp_path):
    options = ["effective_batch_size=8", "val_dataloader=None"]
    runner = make_runner(repository, tmp_path, options=options)
    runner.register_hook(Spoil(5), "LOWEST")  # iterations 5 and 6 make the third step, which is left out
    calls = calls_of(runner, Following())
    assert calls == [("VisionTransformer", iteration / 12) for iteration in (0, 2, 6, 8, 10)]


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": EPOCHS}},
        {
            "default_hooks": {"teacher": {"type": "TeacherHook"}, "checkpoint": {"type": "SafeCheckpointHook"}},
            "custom_hooks": [{"type": "TeacherHook"}],
        },
    ],
    ids=["plain", "loop of MMEngine", "configs that name the hook"],
)
def test_parts_start_once_and_move_with_every_step(repository, tmp_path, sections):
    sections = {"custom_hooks": [], **sections, "val_dataloader": None}
    runner = make_runner(repository, tmp_path, sections=sections)
    calls = calls_of(runner, Moving())
    assert calls[0] == ("start", "MaskedImageModel")
    assert calls[1:] == [("MaskedImageModel", iteration / 12) for iteration in range(12)]


def test_a_resumed_run_does_not_start_again(repository, tmp_path):
    stopped_run(repository, tmp_path)
    calls = calls_of(make_runner(repository, tmp_path, resume=True), Moving())
    assert calls == [("MaskedImageModel", iteration / 12) for iteration in range(7, 12)]


def test_a_fused_optimiser_that_leaves_out_a_step_is_believed():
    weight = nn.Parameter(torch.ones(1))
    hook, optimizer = TeacherHook(), torch.optim.SGD([weight], lr=0.25, fused=True)
    weight.grad, optimizer.grad_scale = torch.ones(1), None
    model = nn.ModuleDict({"encoder": nn.Identity(), "part": Following()})
    runner = SimpleNamespace(hooks=[hook], bare_model=model, iter=1, max_iters=4)
    runner.optim_wrapper = SimpleNamespace(optimizer=optimizer)
    model.encoder, calls = model["encoder"], model["part"].calls
    hook.before_train(runner)
    for broken, value, number in ((1.0, 1.0, 0), (0.0, 0.75, 1)):
        optimizer.found_inf = torch.tensor([broken])
        optimizer.step()
        hook.after_train_iter(runner, 0)
        assert (weight.item(), len(calls)) == (value, number)


def test_halves_of_a_batch_have_the_progress_of_the_whole(monkeypatch):
    masker, hook, told = RandomMasker(), TeacherHook(), []
    monkeypatch.setattr(
        "maetool.engine.hooks.teacher.parts_after_step", lambda model, progress, _: told.append(progress)
    )
    for iteration in range(6):
        wrapper = SimpleNamespace(_accumulative_counts=2)
        runner = SimpleNamespace(iter=iteration, max_iters=6, bare_model=masker, optim_wrapper=wrapper)
        MaskerProgressHook().before_train_iter(runner, 0)
        told.append(masker.progress)
        if iteration % 2:
            hook._note(None)
            hook.after_train_iter(runner, 0)
    assert told == [0, 0, 0, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3]
